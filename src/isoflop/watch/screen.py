"""A study on one terminal screen while it works, from its records and what the machine does at the moment."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rich.console import Group
from rich.text import Text

from isoflop.core import records
from isoflop.core.budget import format_seconds, format_si
from isoflop.core.journal import Stamped
from isoflop.core.products import Plan
from isoflop.machine.readings import GPU, Readings

NUM_LOSSES, NUM_ALERTS, BAR = 40, 3, 20
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass
class Seen:
    """What the records said so far."""

    stage: str = ""
    step: records.Step | None = None
    evaluation: records.Evaluation | None = None
    monitor: records.Monitor | None = None
    num_steps: int = 0
    num_processes: int = 1
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=NUM_LOSSES))
    alerts: deque[str] = field(default_factory=lambda: deque(maxlen=NUM_ALERTS))
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds by activity, over all stages."""
    joules: float = 0.0

    def add(self, stamped: Iterable[Stamped]) -> None:
        for each in stamped:
            self._add(each.record)

    def _add(self, record: records.Record) -> None:
        match record:
            case records.StageStarted():
                self.stage = record.stage
            case records.RunStarted():
                self.num_steps, self.num_processes, self.step = record.num_steps, record.num_processes, None
                self.losses.clear()
            case records.Landing():
                self.num_steps = record.num_steps
            case records.Step():
                self.step = record
                self.losses.append(record.loss)
            case records.Evaluation():
                self.evaluation = record
            case records.Monitor():
                self.monitor, self.joules = record, self.joules + record.joules_central
            case records.Spent():
                self.spent[record.activity] = self.spent.get(record.activity, 0.0) + record.seconds
            case records.Alert() | records.Warned():
                self.alerts.append(f"{record.code}: {record.message}")

    @property
    def seconds(self) -> float:
        return sum(self.spent.values())


@dataclass(frozen=True)
class Frame:
    """What one screen shows beside the records."""

    name: str
    budget_seconds: float | None
    peak_flops: float | None
    """Of the machine's best matrix product."""
    plan: Plan | None
    readings: Readings


def screen(seen: Seen, frame: Frame) -> Group:
    """Some twenty lines."""
    lines = [*_head(seen, frame), *_run(seen, frame), *_goodput(seen), *_machine(seen, frame.readings)]
    alerts = [Text(alert, style="yellow", overflow="ellipsis", no_wrap=True) for alert in seen.alerts]
    return Group(*(Text(line, overflow="ellipsis", no_wrap=True) for line in lines), *alerts)


def _head(seen: Seen, frame: Frame) -> Iterator[str]:
    yield f"{frame.name} · {seen.stage or 'not begun'}"
    if frame.budget_seconds:
        share, left = seen.seconds / frame.budget_seconds, frame.budget_seconds - seen.seconds
        state = f"{format_seconds(abs(left))} {'left' if left >= 0 else 'over'}"
        yield f"budget   {bar(share)} {share:.0%} of {format_seconds(frame.budget_seconds)}, {state}"


def _run(seen: Seen, frame: Frame) -> Iterator[str]:
    step = seen.step
    if step is None:
        return
    share = step.step / seen.num_steps if seen.num_steps else 0.0
    yield f"{step.run:<8} {bar(share)} step {step.step:,} of {seen.num_steps:,}, {format_si(step.tokens)}tokens"
    yield f"loss     {step.loss:.3f} nats a token  {sparkline(list(seen.losses))}"
    if seen.evaluation is not None:
        yield f"held out {seen.evaluation.bits_per_byte:.3f} bits per byte on {seen.evaluation.split}{_promise(frame)}"
    peak = f", {step.flops_per_second / frame.peak_flops:.0%} of the peak" if frame.peak_flops else ""
    waited = "" if step.data_share is None else f", {step.data_share:.1%} waiting for text"
    clipped = f", {step.clipped:.0%} clipped" if step.clipped else ""
    yield f"speed    {format_si(step.tokens_per_second)}tokens/s{peak}{waited}{clipped}"


def _promise(frame: Frame) -> str:
    if frame.plan is None:
        return ""
    bits = frame.plan.forecast.bits_per_byte
    return f"; promised of test {bits.central:.3f} [{bits.low:.3f}, {bits.high:.3f}]"


def _goodput(seen: Seen) -> Iterator[str]:
    if seen.seconds > 0:
        spent = sorted(seen.spent.items(), key=lambda item: -item[1])
        shares = [f"{activity} {seconds / seen.seconds:.1%}" for activity, seconds in spent]
        yield f"time     {', '.join(shares[:6])}"


def _machine(seen: Seen, now: Readings) -> Iterator[str]:
    cores = "".join(_BLOCKS[min(7, int(8 * share))] for share in now.cores)
    busy = sum(now.cores) / max(1, len(now.cores))
    yield f"cores    {cores} {busy:.0%} of {len(now.cores)}"
    yield (
        f"memory   {bar(now.memory_bytes / now.total_bytes)} {now.memory_bytes / 2**30:.1f} of "
        f"{now.total_bytes / 2**30:.0f} GiB{_own_memory(seen)}; {now.free_disk_bytes / 1e9:.0f} GB of disk free"
    )
    if seen.monitor is not None and seen.monitor.seconds > 0:
        watts = [joules / seen.monitor.seconds for joules in _joules(seen.monitor)]
        yield f"power    {watts[1]:.1f} W [{watts[0]:.1f}, {watts[2]:.1f}], {format_si(seen.joules / 3.6e3)}Wh so far"
    yield from (_gpu(number, gpu) for number, gpu in enumerate(now.gpus))


def _own_memory(seen: Seen) -> str:
    return f" ({seen.monitor.memory_bytes / 2**30:.1f} ours)" if seen.monitor else ""


def _joules(monitor: records.Monitor) -> tuple[float, float, float]:
    return monitor.joules_low, monitor.joules_central, monitor.joules_high


def _gpu(number: int, gpu: GPU) -> str:
    held = f"{gpu.memory_bytes / 2**30:.0f} of {gpu.total_bytes / 2**30:.0f} GiB"
    return f"gpu {number}    {bar(gpu.utilisation)} {held}, {gpu.watts:.0f} W, {gpu.celsius:.0f} °C  {gpu.name}"


def bar(share: float) -> str:
    filled = round(BAR * min(max(share, 0.0), 1.0)) if math.isfinite(share) else 0
    return "━" * filled + "╌" * (BAR - filled)


def sparkline(values: list[float]) -> str:
    """Each value as a block between the least and the largest."""
    if len(values) < 2:
        return ""
    least, span = min(values), max(values) - min(values) or 1.0
    return "".join(_BLOCKS[min(7, int(8 * (value - least) / span))] for value in values)


def gauges(seen: Seen, frame: Frame) -> str:
    """The same as Prometheus' text format has it."""
    now, step, judged = frame.readings, seen.step, seen.evaluation
    values: dict[str, float | None] = {
        "spent_seconds": seen.seconds,
        "budget_seconds": frame.budget_seconds,
        "step": step.step if step else None,
        "tokens": step.tokens if step else None,
        "loss_nats_per_token": step.loss if step else None,
        "tokens_per_second": step.tokens_per_second if step else None,
        "validation_bits_per_byte": judged.bits_per_byte if judged else None,
        "joules": seen.joules,
        "productive_share": seen.spent.get("productive", 0.0) / seen.seconds if seen.seconds else None,
        "memory_bytes": now.memory_bytes,
        "free_disk_bytes": now.free_disk_bytes,
    }
    lines = [f"isoflop_{name} {value}" for name, value in values.items() if value is not None]
    lines += [f'isoflop_core_busy_share{{core="{i}"}} {share}' for i, share in enumerate(now.cores)]
    for i, gpu in enumerate(now.gpus):
        lines += [
            f'isoflop_gpu_busy_share{{gpu="{i}"}} {gpu.utilisation}',
            f'isoflop_gpu_watts{{gpu="{i}"}} {gpu.watts}',
        ]
    return "\n".join(lines) + "\n"
