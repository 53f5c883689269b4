from __future__ import annotations

import sys

import pytest
import torch

from isoflop.core.products import Recipe
from isoflop.machine import measure as measuring
from isoflop.machine.limits import usable_cores
from isoflop.machine.measure import cpu_name, matmul_peak, measure, memory_of, time_steps, timing_recipe
from isoflop.model.config import ModelConfig
from toy import config

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MATMUL_SIZE", 64)
    monkeypatch.setattr(measuring, "REFERENCE_BATCH_TOKENS", 128)


def test_a_timed_step_says_what_was_timed() -> None:
    shape = config()
    timing = time_steps(shape, timing_recipe(shape, 64), dtype="float32", device=CPU, seconds=0.0)
    assert (timing.hidden_size, timing.num_layers, timing.vocab_size) == (64, 2, 61)
    assert (timing.batch_tokens, timing.context, timing.dtype, timing.compiled) == (64, 16, "float32", False)
    assert timing.num_threads == torch.get_num_threads()
    assert timing.seconds > 0 and timing.seconds_sd >= 0


@pytest.mark.parametrize(("wanted", "expected"), [(64, (16, 64)), (70, (16, 64)), (8, (8, 8))])
def test_the_timing_recipe_has_whole_sequences(wanted: int, expected: tuple[int, int]) -> None:
    recipe = timing_recipe(config(), wanted)
    assert (recipe.context, recipe.batch_tokens) == expected


def test_on_a_slow_machine_the_largest_shapes_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.machine.measure.OVERTIME", 0.0)
    shapes = [config(hidden_size=32, num_attention_heads=1), config(), config(hidden_size=96, num_attention_heads=3)]
    machine = measure(shapes, seconds=0.0, side_by_side=None)
    assert {timing.hidden_size for timing in machine.timings[-4:]} == {32, 64} and len(machine.timings) <= 6


def test_measuring_uses_every_shape_and_the_faster_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.machine.measure.OVERTIME", 1e9)
    monkeypatch.setattr("isoflop.machine.measure.SLOW", 0.0)
    asked: list[tuple[ModelConfig, Recipe, str]] = []

    def side_by_side(shape: ModelConfig, recipe: Recipe, dtype: str) -> float:
        asked.append((shape, recipe, dtype))
        return 1e9

    shapes = [config(hidden_size=32, num_attention_heads=1), config(), config(hidden_size=96, num_attention_heads=3)]
    machine = measure(shapes, seconds=0.1, side_by_side=side_by_side)
    contest = {timing.dtype: timing.seconds for timing in machine.timings[:2]}
    assert machine.dtype == min(contest, key=lambda name: contest[name])
    rest = machine.timings[2:]
    assert {timing.hidden_size for timing in rest} == {32, 64, 96}
    assert {timing.dtype for timing in rest} == {machine.dtype}
    assert len({timing.batch_tokens for timing in rest}) == 2
    assert [(shape, dtype) for shape, _, dtype in asked] == [(shapes[1], machine.dtype)]
    assert machine.side_by_side_gain > 1
    assert set(machine.matmul_flops_per_second) == {"float32", "bfloat16"}
    assert machine.num_cores == usable_cores() and machine.memory_bytes > 1e6


def test_a_type_with_slow_products_is_not_trained_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "matmul_peak", lambda dtype, *_: {"float32": 1e11, "bfloat16": 1e9}[dtype])
    machine = measure([config()], seconds=0.0, side_by_side=None)
    assert machine.dtype == "float32" and {timing.dtype for timing in machine.timings} == {"float32"}
    assert machine.matmul_flops_per_second == {"float32": 1e11, "bfloat16": 1e9}


def test_one_core_has_no_side_by_side() -> None:
    assert measure([config()], seconds=0.0, side_by_side=None).side_by_side_gain == 1.0


@pytest.mark.parametrize(("noise", "codes"), [(0.0, []), (measuring.NOISY, []), (10.0, ["noisy_machine"])])
def test_a_noisy_machine_is_told(noise: float, codes: list[str]) -> None:
    assert [warning.code for warning in measuring._warnings(noise, torch.device("cpu"), None)] == codes


def test_work_is_repeated_after_two_calls_to_warm_up() -> None:
    calls: list[int] = []
    times = measuring._repeat(lambda: calls.append(1), CPU, seconds=0.0)
    assert len(times) == measuring.MIN_STEPS and len(calls) == measuring.MIN_STEPS + 2


def test_a_gpu_trains_in_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 123

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    assert memory_of(torch.device("cuda")) == 123
    assert memory_of(CPU) > 1e6


def test_products_are_counted() -> None:
    assert matmul_peak("float32", CPU, seconds=0.01) > 1e6


@pytest.mark.parametrize(("seconds", "sizes"), [(1.0, [16, 64]), (1e-9, [16])])
def test_slow_products_are_not_waited_for(seconds: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def rate(dtype: str, device: torch.device, size: int, *, seconds: float) -> float:
        asked.append(size)
        return 1e9

    monkeypatch.setattr(measuring, "_product_rate", rate)
    assert matmul_peak("bfloat16", CPU, seconds=seconds) == 1e9 and asked == sizes


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/cpuinfo is Linux's")
def test_the_processor_has_a_name() -> None:
    assert cpu_name() and "\n" not in cpu_name()
