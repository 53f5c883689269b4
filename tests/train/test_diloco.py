"""The outer step by hand; processes that train apart are in tests/faults/test_ranks.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isoflop.model.transformer import build_model
from isoflop.train.diloco import MOMENTUM, RATE, OuterStep
from isoflop.train.optimizers import Optimizer
from toy import config, recipe


def outer() -> OuterStep:
    return OuterStep(Optimizer(build_model(config(), seed=0), recipe(optimizer="sgd")), every=10)


def settle(made: OuterStep, mean: float) -> None:
    """An outer step, the mean over all processes being ``mean`` everywhere."""
    made.step([torch.full_like(master, mean) for master in made.masters()])


def test_two_outer_steps_by_hand() -> None:
    made = outer()
    for agreed in made.agreed:
        agreed.fill_(1.0)
    settle(made, 0.8)  # gradient .2, momentum .2
    first = 1 - RATE * (0.2 + MOMENTUM * 0.2)
    assert all(torch.allclose(master, torch.tensor(first)) for master in made.masters())
    settle(made, 0.6)  # gradient first - .6
    momentum = MOMENTUM * 0.2 + first - 0.6
    second = first - RATE * (first - 0.6 + MOMENTUM * momentum)
    assert all(torch.allclose(master, torch.tensor(second)) for master in made.masters())
    assert all(torch.equal(agreed, master) for agreed, master in zip(made.agreed, made.masters(), strict=True))


def test_the_model_follows() -> None:
    made = outer()
    settle(made, 0.5)
    weights = [block.weight() for part in made.optimizer.parts.values() for block in part.blocks]
    expected = [master.to(weight.dtype) for master, weight in zip(made.masters(), weights, strict=True)]
    assert all(torch.equal(weight, e) for weight, e in zip(weights, expected, strict=True))


def test_processes_that_did_not_move_stay_where_they_are() -> None:
    made = outer()
    before = [master.clone() for master in made.masters()]
    made.step(made.masters())
    assert all(torch.equal(a, b) for a, b in zip(before, made.masters(), strict=True))


def test_its_state_goes_on_where_it_was_and_begins_anew_elsewhere() -> None:
    made, other = outer(), outer()
    settle(made, 0.3)
    kept = {name: value.clone() for name, value in made.state().items()}
    other.restore(kept)
    assert all(torch.equal(value, kept[name]) for name, value in other.state().items())
    other.restore({"0.master": torch.zeros(3)})  # of a run that trained together
    assert all(torch.equal(agreed, master) for agreed, master in zip(other.agreed, other.masters(), strict=True))
    assert not any(momentum.any() for momentum in other.momenta)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lion", "lamb", "sgd"])
def test_every_weight_has_one_master(optimizer: str) -> None:
    model = build_model(config(), seed=0)
    masters: list[Tensor] = OuterStep(Optimizer(model, recipe(optimizer=optimizer)), every=2).masters()
    assert sum(master.numel() for master in masters) == sum(parameter.numel() for parameter in model.parameters())
