"""Published runs that the efficiencies were fitted to, and some that they were not; benchmarks/estimate.py has all."""

from __future__ import annotations

import dataclasses
import math

import pytest

from isoflop.estimate.devices import find_device
from isoflop.estimate.parallel import Division, Training
from isoflop.estimate.shapes import shape_of_size
from isoflop.estimate.speed import step_time, work_of
from isoflop.model.count import flops_per_token
from toy import gpt

A100, H100 = find_device("a100"), find_device("h100")
KORTHIKANTI = [
    # width, layers, heads, stages, chunks, batch, at once, seconds with full and with selective recomputation
    (6144, 48, 64, 1, 1, 4, 4, 1.42, 1.10),
    (12288, 96, 96, 8, 3, 64, 1, 18.13, 13.75),
    (20480, 105, 128, 35, 3, 280, 1, 49.05, 37.83),
    (25600, 128, 160, 64, 1, 512, 1, 94.42, 71.49),
]


def test_korthikantis_iterations() -> None:
    """arXiv 2205.05198, table 5; the marks to beat are Calculon's, 3.65 % in the mean and 8.87 at most."""
    errors = []
    for hidden, layers, heads, stages, chunks, batch, micro, full, selective in KORTHIKANTI:
        training = Training(gpt(hidden, layers, heads), batch, 2048, flash=False)
        plain = Division(
            tensor=8, pipeline=stages, chunks=chunks, micro_batch=micro, sequence_parallel=False, recompute="full"
        )
        clever = dataclasses.replace(plain, sequence_parallel=True, recompute="selective")
        errors += [abs(step_time(training, plain, A100).total / full - 1)]
        errors += [abs(step_time(training, clever, A100).total / selective - 1)]
    assert sum(errors) / len(errors) < 0.0365 and max(errors) < 0.0887


@pytest.mark.parametrize(
    ("width", "layers", "heads", "devices", "micro", "again", "tokens_per_second"),
    [
        (4096, 32, 32, 8, 6, "none", 85_144),
        (8192, 80, 64, 512, 8, "full", 515_636),
        (2048, 24, 16, 64, 20, "none", 2_841_754),
    ],
)
def test_mosaics_tokens_a_second(
    width: int, layers: int, heads: int, devices: int, micro: int, again: str, tokens_per_second: float
) -> None:
    """H100s that share a model, 2,048 tokens of context (llm-foundry 8c8dd48, scripts/train/benchmarking)."""
    training = Training(gpt(width, layers, heads, vocab_size=50_368), devices * micro, 2048)
    division = Division(devices, sharding="full", micro_batch=micro, recompute=again)  # type: ignore[arg-type]
    seconds = step_time(training, division, H100).total
    assert training.batch * 2048 / seconds == pytest.approx(tokens_per_second, rel=0.1)


def test_the_parts_of_a_step_sum_to_it() -> None:
    training = Training(shape_of_size(7e9, context=4096), 512, 4096)
    found = step_time(training, Division(data=8, tensor=4, pipeline=4, sharding="optimizer", chunks=2), H100)
    parts = dataclasses.asdict(found)
    assert sum(parts.values()) == pytest.approx(found.total) and min(parts.values()) >= 0


def test_products_are_the_ledgers_flops() -> None:
    """Six a matmul parameter and token, to the biases and norms that are counted as products."""
    training = Training(shape_of_size(7e9, context=4096), 64, 4096)
    work = work_of(training, Division(), 8)
    tokens = 64 * 4096
    square = 4 * training.config.num_hidden_layers * 4096 * training.config.query_size * tokens
    causal = 3 * square / 2  # of the ledger: half of it, forward once and backward twice
    ledger = flops_per_token(training.config, context=4096) * tokens
    assert work.product_flops == pytest.approx(ledger - causal, rel=1e-3)
    assert work.attention_flops == pytest.approx(3.5 * square, rel=1e-6)


@pytest.mark.parametrize("change", [{"recompute": "full"}, {"tensor": 8, "data": 1}, {"micro_batch": 1}])
def test_what_costs_time(change: dict[str, object]) -> None:
    """Recomputing, links in place of replicas, and small batches at once, for a model that fits."""
    training = Training(shape_of_size(1.3e9, context=2048), 512, 2048)
    usual = Division(data=8, sharding="full", micro_batch=8)
    slower = dataclasses.replace(usual, **change)
    assert step_time(training, slower, H100).total > step_time(training, usual, H100).total


def test_twice_the_devices_are_at_most_twice_as_fast() -> None:
    training = Training(shape_of_size(7e9, context=4096), 1024, 4096)
    seconds = [
        step_time(training, Division(data=count, sharding="full", micro_batch=1), H100).total for count in (8, 16, 512)
    ]
    assert seconds[0] / seconds[1] <= 2 + 1e-9 and seconds[1] / seconds[2] <= 32
    assert all(math.isfinite(value) for value in seconds)
