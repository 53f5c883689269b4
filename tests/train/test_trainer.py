from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isoflop.core.errors import CorruptFileError
from isoflop.train.checkpoint import Store
from isoflop.train.optimizers import OPTIMIZERS
from isoflop.train.schedule import Anchor
from isoflop.train.trainer import Trainer
from toy import config, recipe, stream


def trainer(*, dtype: str = "float32", compiled: bool = False, dropout: float = 0.0, **changes: Any) -> Trainer:
    return Trainer(config(dropout=dropout), recipe(**changes), [stream()], dtype=dtype, compiled=compiled)


def weights(run: Trainer) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in run.model.parameters()]


def steps(run: Trainer, count: int) -> list[float]:
    return [float(run.step()[0]) for _ in range(count)]


def next_batch(run: Trainer) -> tuple[Tensor, Tensor]:
    return run.batches(run.first_window + run.batch_number(run.num_done) * run.batches.sequences)


def assert_equal_bits(one: Trainer, other: Trainer) -> None:
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    mine, theirs = one.state(), other.state()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_saving_and_loading_changes_no_bit(tmp_path: Path, optimizer: str, dropout: float) -> None:
    whole = trainer(optimizer=optimizer, dropout=dropout)
    losses = steps(whole, 12)
    first = trainer(optimizer=optimizer, dropout=dropout)
    assert steps(first, 7) == losses[:7]
    Store(tmp_path).save(first.snapshot())
    torch.manual_seed(999)  # what another process would start with
    second = trainer(optimizer=optimizer, dropout=dropout)
    snapshot = Store(tmp_path).latest()
    assert snapshot is not None
    second.restore(snapshot)
    assert second.num_done == 7
    assert steps(second, 5) == losses[7:]
    assert_equal_bits(second, whole) if dropout else assert_equal_weights(second, whole)


def assert_equal_weights(one: Trainer, other: Trainer) -> None:
    """As `assert_equal_bits`, but for the random generator, which runs without dropout do not use."""
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_bfloat16_resumes_with_equal_bits(tmp_path: Path) -> None:
    whole, first, second = (trainer(dtype="bfloat16") for _ in range(3))
    steps(whole, 8)
    steps(first, 5)
    Store(tmp_path).save(first.snapshot())
    snapshot = Store(tmp_path).latest()
    assert snapshot is not None
    second.restore(snapshot)
    steps(second, 3)
    assert_equal_weights(second, whole)


def test_a_snapshot_in_memory_is_a_copy() -> None:
    run = trainer(dropout=0.1)
    steps(run, 3)
    snapshot = run.snapshot()
    run.anchor = Anchor(3, 0.6, 8)
    branch = steps(run, 4)
    run.restore(snapshot)
    assert (run.num_done, run.anchor) == (3, Anchor(0, 0.0, 40))
    run.anchor = Anchor(3, 0.6, 8)
    assert steps(run, 4) == branch


def test_equal_arguments_give_equal_bits_and_seeds_differ() -> None:
    assert steps(trainer(), 4) == steps(trainer(), 4)
    assert steps(trainer(), 4) != steps(trainer(seed=4), 4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loss_falls(optimizer: str) -> None:
    rates = {"muon": 0.02, "adamw": 0.01, "lion": 0.002, "schedule-free": 0.01, "lamb": 0.03, "sgd": 0.1}
    losses = steps(trainer(optimizer=optimizer, learning_rate=rates[optimizer], num_steps=150), 150)
    assert sum(losses[-10:]) / 10 < sum(losses[:5]) / 5 - 1.0


def test_counts_of_tokens_and_progress() -> None:
    run = trainer()
    steps(run, 10)
    assert (run.tokens_seen, run.progress) == (640, 0.25)


def test_the_last_step_still_has_a_rate() -> None:
    run = trainer(num_steps=5)
    steps(run, 4)
    before = weights(run)
    steps(run, 1)
    assert run.progress == 1.0
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))


def test_a_trunk_is_adopted_by_a_run_with_another_batch(tmp_path: Path) -> None:
    trunk = trainer(batch_tokens=32)
    steps(trunk, 10)
    Store(tmp_path).save(trunk.snapshot())
    snapshot = Store(tmp_path).latest()
    assert snapshot is not None
    run = trainer(num_steps=15)
    run.adopt(snapshot, tokens=trunk.tokens_seen)
    assert all(torch.equal(a, b) for a, b in zip(weights(run), weights(trunk), strict=True))
    assert (run.num_done, run.tokens_seen) == (0, 320)
    assert run.progress == pytest.approx(320 / (320 + 15 * 64))
    expected = trunk.batches(20)[0]
    assert torch.equal(next_batch(run)[0][:2], expected)  # the stream goes on where the trunk left it
    steps(run, 15)
    assert run.progress == 1.0


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
@pytest.mark.long
def test_compiled_equals_eager_within_rounding() -> None:
    eager, compiled = steps(trainer(), 8), steps(trainer(compiled=True), 8)
    assert compiled == pytest.approx(eager, rel=1e-3)


@pytest.mark.parametrize("changes", [{"intermediate_size": 64}, {"num_hidden_layers": 1}, {"vocab_size": 67}])
def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path, changes: dict[str, int]) -> None:
    Store(tmp_path / "run").save(trainer().snapshot())
    snapshot = Store(tmp_path / "run").latest()
    assert snapshot is not None
    other = Trainer(config(**changes), recipe(), [stream()], dtype="float32")
    before = weights(other)
    with pytest.raises(
        CorruptFileError,
        match=r"run/checkpoint-000001.safetensors: the checkpoint is of another model .* Delete the folder",
    ):
        other.restore(snapshot)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(other), strict=True))


def test_skipped_batches_are_never_read_and_the_others_keep_their_order(tmp_path: Path) -> None:
    plain, run = trainer(), trainer()
    run.skipped = [2, 3, 7]
    assert [run.batch_number(step) for step in range(7)] == [0, 1, 4, 5, 6, 8, 9]
    steps(run, 3)
    assert torch.equal(next_batch(run)[0], plain.batches(5 * plain.batches.sequences)[0])
    Store(tmp_path).save(run.snapshot())
    snapshot = Store(tmp_path).latest()
    assert snapshot is not None
    plain.restore(snapshot)
    assert plain.skipped == [2, 3, 7]
    assert steps(plain, 3) == steps(run, 3)


def test_what_is_minimised_by_hand() -> None:
    run = trainer(z_loss=0.1, label_smoothing=0.2)
    steps(run, 3)
    inputs, targets = next_batch(run)
    logits = run.model(inputs).detach().double()
    logs = logits.log_softmax(-1)
    chosen = -logs.gather(-1, targets[..., None]).mean()
    expected = 0.8 * chosen - 0.2 * logs.mean() + 0.1 * logits.logsumexp(-1).square().mean()
    assert steps(run, 1)[0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("count", [2, 4])
def test_a_batch_in_parts_teaches_what_it_teaches_whole(count: int) -> None:
    whole, parts = trainer(), trainer(micro_batches=count)
    assert steps(parts, 5) == pytest.approx(steps(whole, 5), rel=1e-5)
    for one, other in zip(weights(whole), weights(parts), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert whole.noise is None and parts.noise is not None
    scale = parts.noise.take()
    assert scale is None or scale > 0


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activations_computed_twice_teach_the_same_bits(dropout: float) -> None:
    kept = trainer(dropout=dropout)
    losses = steps(kept, 5)
    again = trainer(dropout=dropout, recompute=True)  # which seeds the draws anew
    assert steps(again, 5) == losses
    assert all(torch.equal(one, other) for one, other in zip(weights(kept), weights(again), strict=True))


def test_parts_are_summed_in_float32() -> None:
    run = trainer(dtype="bfloat16", micro_batches=4)
    losses = steps(run, 5)
    assert losses == pytest.approx(steps(trainer(dtype="bfloat16"), 5), rel=0.01)
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.bfloat16}
