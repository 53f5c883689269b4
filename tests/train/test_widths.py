"""A coordinate check (Yang et al. 2022, arXiv 2203.03466, appendix D.1): under the rules' rates, what flows through a
model keeps its size at every width, at the start and after steps. If it grew with width, no rate could suit two.

Of Muon's rates alone: under AdamW's what the blocks leave grows from 1.8 to 3.8 here."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from isoflop.plan.rules import recipe_for
from isoflop.train.trainer import Trainer
from toy import config, stream

WIDTHS = (64, 128, 256, 512)
STEPS = 8


def sizes(width: int) -> tuple[list[float], float, float]:
    """RMS of what the blocks leave, before and after some steps; of its change; and of the logits after them."""
    shape = config(hidden_size=width, num_attention_heads=width // 32, intermediate_size=32 * round(8 * width / 3 / 32))
    rules = recipe_for(1e6, context=16, unique_tokens=1000, seed=0)
    recipe = dataclasses.replace(rules, batch_tokens=64, num_steps=100, warmup_fraction=0.0)
    run = Trainer(shape, recipe, [stream()], dtype="float32")
    inputs = run.batches(0)[0]
    before, _ = flow(run, inputs)
    for _ in range(STEPS):
        run.step()
    after, logits = flow(run, inputs)
    return [rms(before), rms(after)], rms(after - before), rms(logits)


def flow(run: Trainer, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What enters the last norm, and the logits."""
    seen: list[Tensor] = []
    hook = run.model.norm.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    with torch.no_grad():
        logits = run.model(inputs)
    hook.remove()
    return seen[0], logits


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def test_activations_keep_their_size_from_width_64_to_512() -> None:
    found = [sizes(width) for width in WIDTHS]
    for values in zip(*(pair for pair, _, _ in found), strict=True):
        assert max(values) < 1.5 * min(values)
    changes, logits = [change for _, change, _ in found], [size for _, _, size in found]
    assert max(changes) < 3 * min(changes), changes
    assert max(logits) < 4 * min(logits), logits
