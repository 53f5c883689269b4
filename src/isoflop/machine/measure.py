"""What this machine can do, by doing it: matrix products, real training steps, and how much they vary."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isoflop.core.products import Interval, Machine, Recipe, StepTiming, StudyWarning
from isoflop.machine.limits import usable_cores, usable_memory
from isoflop.machine.nvml import EnergyCounter
from isoflop.machine.power import detect_power
from isoflop.machine.throughput import shape_of
from isoflop.model.config import ModelConfig
from isoflop.model.count import flops_per_token

if TYPE_CHECKING:
    from isoflop.train.ranks import Ranks
    from isoflop.train.trainer import Trainer

MATMUL_SIZE = 1024
REFERENCE_BATCH_TOKENS = 2048
WARM_UPS, MIN_STEPS = 2, 3
MIN_SHAPES, OVERTIME = 2, 3.0
"""Shapes that are always timed; times the asked seconds after which no more are."""
SLOW = 0.5
"""Of the best products' rate: types with slower ones are not trained in. A processor without instructions for bfloat16
(AVX2 alone) makes its products a hundred times as slow as those in float32."""
NOISY = 0.15
"""Relative spread of step times above which forecasts of time deserve a warning."""


def measure(
    shapes: list[ModelConfig], *, seconds: float, side_by_side: Callable[[ModelConfig, Recipe, str], float] | None
) -> Machine:
    """Measures for about ``seconds``: matmul peaks, the faster dtype, and steps of ``shapes`` at two batch sizes.

    ``side_by_side`` trains one process a core and returns their tokens/s together, or is None where there is
    one core or an accelerator.
    """
    started, device = time.monotonic(), pick_device()
    peaks = {name: matmul_peak(name, device) for name in ("float32", "bfloat16")}
    counter, counted_from = EnergyCounter.find() if device.type == "cuda" else None, time.monotonic()
    share = seconds / (2 * len(shapes) + 3)
    middle = shapes[len(shapes) // 2]
    recipe = timing_recipe(middle, REFERENCE_BATCH_TOKENS)
    quick = [name for name, peak in peaks.items() if peak >= SLOW * max(peaks.values())]
    contest = {name: time_steps(middle, recipe, dtype=name, device=device, seconds=share) for name in quick}
    dtype = min(contest, key=lambda name: contest[name].seconds)
    timings = list(contest.values())
    for number, config in enumerate(shapes):
        for batch in (REFERENCE_BATCH_TOKENS // 4, REFERENCE_BATCH_TOKENS * 2):
            wanted = timing_recipe(config, batch)
            ends = time.monotonic() - started + _expected_seconds(config, wanted, timings[-1])
            if number >= MIN_SHAPES and ends > OVERTIME * seconds:
                continue  # a slow or busy machine: the largest steps are extrapolated
            timings.append(time_steps(config, wanted, dtype=dtype, device=device, seconds=share))
    gpu_watts = counter.joules().scaled(1 / (time.monotonic() - counted_from)) if counter else None
    gain = 1.0
    if side_by_side is not None:
        alone = recipe.batch_tokens / contest[dtype].seconds
        gain = side_by_side(middle, recipe, dtype) / alone
    noise = float(np.median([timing.seconds_sd / timing.seconds for timing in timings]))
    return Machine(
        cpu=cpu_name(),
        device=str(device),
        num_cores=usable_cores(),
        memory_bytes=memory_of(device),
        torch_version=str(torch.__version__),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        matmul_flops_per_second=peaks,
        dtype=dtype,
        timings=timings,
        side_by_side_gain=gain,
        noise=noise,
        power=replace(detect_power(), gpu_watts=gpu_watts),
        warnings=list(_warnings(noise, device, gpu_watts)),
    )


def _expected_seconds(config: ModelConfig, recipe: Recipe, last: StepTiming) -> float:
    """That the least of timing takes, at the speed of the ``last`` one's products."""
    before = last.batch_tokens * flops_per_token(shape_of(last), context=last.context)
    now = recipe.batch_tokens * flops_per_token(config, context=recipe.context)
    return (WARM_UPS + MIN_STEPS) * last.seconds * now / before


def _warnings(noise: float, device: torch.device, gpu_watts: Interval | None) -> Iterator[StudyWarning]:
    if noise > NOISY:
        told = f"step times vary by {noise:.0%} (1 sd)"
        yield StudyWarning("noisy_machine", f"{told}: something else uses this machine; forecasts of time are as loose")
    if device.type == "cuda" and gpu_watts is None:
        yield StudyWarning(
            "gpu_energy_unknown",
            "what the GPU draws is not in any energy told here: its counter cannot be read (pip install nvidia-ml-py)",
        )


def pick_device() -> torch.device:
    """The CPU, or the GPU; of several that of this process's place among those that train together."""
    place = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device("cuda", place) if torch.cuda.is_available() else torch.device("cpu")


def memory_of(device: torch.device) -> int:
    """Bytes of memory for training on ``device``."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return usable_memory()


def cpu_name() -> str:
    """The model name the kernel gives, or the platform's."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def matmul_peak(dtype: str, device: torch.device, *, seconds: float = 0.25) -> float:
    """FLOP/s of a square product with all threads: the median of repeated products for about ``seconds``, or of smaller
    ones where the products are so slow that none of full size would end by then."""
    size = MATMUL_SIZE if device.type == "cpu" else 8 * MATMUL_SIZE
    rate = _product_rate(dtype, device, size // 4, seconds=0.0)
    slow = 2 * size**3 / rate > seconds
    return rate if slow else _product_rate(dtype, device, size, seconds=seconds)


def _product_rate(dtype: str, device: torch.device, size: int, *, seconds: float) -> float:
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    a = torch.randn(size, size, device=device).to(kind)
    return 2 * size**3 / float(np.median(_repeat(lambda: a @ a, device, seconds=seconds)))


def timing_recipe(config: ModelConfig, batch_tokens: int) -> Recipe:
    """A recipe for steps whose losses do not matter."""
    context = min(config.max_position_embeddings, batch_tokens)
    return Recipe(
        optimizer="muon",
        context=context,
        batch_tokens=batch_tokens // context * context,
        num_steps=1000,
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_fraction=0.0,
        decay_fraction=0.0,
        clip_norm=1.0,
        seed=0,
        unique_tokens=1 << 16,
    )


def timing_trainer(
    config: ModelConfig,
    recipe: Recipe,
    *,
    dtype: str,
    device: torch.device,
    compiled: bool = False,
    ranks: Ranks | None = None,
    sharded: bool = False,
) -> Trainer:
    """One on random tokens."""
    from isoflop.train.layout import Layout
    from isoflop.train.trainer import Trainer

    tokens = np.random.default_rng(0).integers(0, config.vocab_size, recipe.unique_tokens).astype(np.uint32)
    return Trainer(
        config,
        recipe,
        [tokens],
        dtype=dtype,
        compiled=compiled,
        device=str(device),
        ranks=ranks,
        layout=Layout(sharded),
    )


def time_steps(
    config: ModelConfig,
    recipe: Recipe,
    *,
    dtype: str,
    device: torch.device,
    seconds: float,
    compiled: bool = False,
    ranks: Ranks | None = None,
    sharded: bool = False,
) -> StepTiming:
    """Times whole training steps on random tokens, at least three after two to warm up, for about ``seconds``; as the
    leader of ``ranks``, where they are, which have all of the model each or shares of it."""
    together: dict[str, Any] = {"ranks": ranks, "sharded": sharded}
    trainer = timing_trainer(config, recipe, dtype=dtype, device=device, compiled=compiled, **together)
    times = _repeat(trainer.step, device, seconds=seconds)
    return StepTiming(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        vocab_size=config.vocab_size,
        batch_tokens=recipe.batch_tokens,
        context=recipe.context,
        num_threads=torch.get_num_threads(),
        num_processes=ranks.size if ranks else 1,
        dtype=dtype,
        compiled=compiled,
        seconds=float(np.median(times)),
        seconds_sd=float(np.std(times)),
    )


def _repeat(work: Callable[[], object], device: torch.device, *, seconds: float) -> list[float]:
    """Times of single calls, two warm-up calls left out."""
    for _ in range(WARM_UPS):
        work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < MIN_STEPS or time.perf_counter() < end:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times
