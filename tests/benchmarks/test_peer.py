"""The peer benchmark, on a text that counts: it trains, stops in time, and is scored by isoflop's definition."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    """Imported late: transformers takes seconds that other tests need not wait for."""
    for needed in ("transformers", "accelerate", "isoflop.evaluate.score"):
        pytest.importorskip(needed)
    return importlib.import_module("peer")


def test_blocks_are_consecutive_and_drop_the_rest(peer: ModuleType) -> None:
    blocks = peer.Blocks(np.arange(10, dtype=np.uint16), context=4)
    assert [blocks[i]["input_ids"].tolist() for i in range(len(blocks))] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert blocks[1]["labels"].tolist() == [4, 5, 6, 7]


def test_rate_leaves_out_the_first_steps(peer: ModuleType) -> None:
    clock = peer.Clock(budget_seconds=10.0, step_ends=[5.0, 6.0, 7.0, 7.5, 8.0, 8.5, 9.0])
    assert clock.steps_per_second == pytest.approx(2.0)
    assert peer.Clock(budget_seconds=10.0, step_ends=[4.0, 8.0]).steps_per_second == pytest.approx(0.25)


@pytest.mark.parametrize(("family", "num_parameters"), [("gpt2", 55_232), ("llama", 49_344)])
def test_peer_has_the_shape_of_the_plan(peer: ModuleType, study: Path, family: str, num_parameters: int) -> None:
    # gpt2: 64*64 tied + 16*64 positions + attention 4*64^2+4*64 + mlp 8*64^2+5*64 + norms 3*128
    # llama: 2*64*64 untied + attention 4*64^2 + mlp 3*64*128 + norms 3*64
    model = peer.build_peer(peer.Study.open(study).plan, family=family, context=16)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_scored_twin_is_the_peer(peer: ModuleType, study: Path, family: str) -> None:
    model = peer.build_peer(peer.Study.open(study).plan, family=family, context=16).eval()
    ids = torch.arange(32).reshape(2, 16)
    with torch.inference_mode():
        torch.testing.assert_close(peer.isoflop_twin(model).eval()(ids), model(ids).logits, atol=1e-4, rtol=0)


def test_score_of_a_uniform_model_is_log2_of_the_vocabulary_per_token(peer: ModuleType, study: Path) -> None:
    opened = peer.Study.open(study)
    model = peer.build_peer(opened.plan, family="gpt2", context=16)
    model.transformer.wte.weight.data.zero_()  # tied to the head: all logits become 0
    score = peer.Scorer(opened, context=16).score(model, "test")
    assert score["num_bytes"] == 3 * 78
    assert score["bits_per_byte"] == pytest.approx(math.log2(64) * 3 * 40 / (3 * 78), rel=1e-5)


def test_run_trains_records_its_curve_and_keeps_its_budget(peer: ModuleType, study: Path) -> None:
    result = peer.run_peer(peer.Study.open(study), minutes=0.02, family="gpt2", learning_rate=1e-2, every_seconds=0.3)
    assert result["learning_rate"] == 1e-2
    assert result["steps"] <= result["max_steps"]
    assert result["tokens"] == result["steps"] * 8 * 16
    assert result["val"]["bits_per_byte"] < math.log2(64) * 40 / 78, "no better than a uniform guess"
    seconds = [point["seconds"] for point in result["curve"]]
    assert seconds == sorted(seconds)
    assert result["val"]["num_bytes"] == 3 * 78
    # 0.375 % of the plan's 12,800 tokens are 48: 16 of each document's 40 tokens, for 16/40 of its 78 bytes
    assert result["val_curve_subset"]["num_bytes"] == round(3 * 78 * 16 / 40)


def test_default_recipe_is_trainers_own(peer: ModuleType, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = peer.Study.open(study)
    model = peer.build_peer(opened.plan, family="gpt2", context=16)
    blocks = peer.Blocks(opened.tokens(opened.manifest.train), context=16)
    clock = peer.Clock(budget_seconds=60.0)
    arguments = peer.train(model, blocks, max_steps=4, learning_rate=None, clock=clock)
    assert (arguments.learning_rate, arguments.train_batch_size, arguments.weight_decay) == (5e-5, 8, 0.0)
    assert (str(arguments.lr_scheduler_type.value), arguments.bf16, len(clock.step_ends)) == ("linear", False, 4)
    assert capsys.readouterr().out == ""
