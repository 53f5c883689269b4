"""Answers as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isoflop.core.budget import format_seconds, format_si


def plan_lines(answer: dict[str, Any]) -> str:
    """The plan for a person."""
    chosen, lines = answer["chosen"], []
    bits = chosen["bits_per_byte"]
    lines.append(
        f"{answer['budget']} ({format_seconds(answer['budget_seconds'])}) buys "
        f"{format_si(chosen['num_parameters']['all'])} parameters "
        f"({chosen['num_layers']} layers, width {chosen['hidden_size']}) "
        f"on {format_si(chosen['tokens'])} tokens ({chosen['epochs']:.1f} epochs):"
    )
    lines.append(f"  {bits['central']:.3f} bits per byte [{bits['low']:.3f}, {bits['high']:.3f}] at 90 %")
    lines.append(f"  for {format_seconds(answer['seconds']['central'])}, {', '.join(_costs(answer))}")
    for other in answer["what_if"][1:]:
        bits = other["bits_per_byte"]
        lines.append(
            f"  {format_seconds(other['budget_seconds'])} would buy {bits['central']:.3f} "
            f"[{bits['low']:.3f}, {bits['high']:.3f}]"
        )
    lines += [f"  warning [{warning['code']}]: {warning['message']}" for warning in answer["warnings"]]
    return "\n".join(lines)


def _costs(answer: dict[str, Any]) -> Iterator[str]:
    for key, unit in (("kwh", "kWh"), ("grams_co2e", "g CO2e"), ("dollars", "dollars")):
        if (cost := answer[key]) is not None:
            yield f"{cost['central']:.3g} {unit} [{cost['low']:.3g}, {cost['high']:.3g}]"


def machine_lines(machine: dict[str, Any]) -> str:
    """The machine for a person."""
    peaks = machine["matmul_flops_per_second"]
    watts = machine["power"]["active_watts_per_core"]
    lines = [
        f"{machine['cpu']}, {machine['num_cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"torch {machine['torch_version']}",
        f"matrix products: {format_si(peaks['bfloat16'])}FLOP/s in bfloat16, "
        f"{format_si(peaks['float32'])}FLOP/s in float32",
        f"training in {machine['dtype']}; step times vary by {machine['noise']:.1%}",
        f"power ({machine['power']['method']}): {watts['central']:.2f} W a busy core "
        f"[{watts['low']:.2f}, {watts['high']:.2f}]: {machine['power']['source']}",
        "layers x width   batch tokens   tokens/s",
    ]
    lines += [
        f"  {t['num_layers']} x {t['hidden_size']:<10} {t['batch_tokens']:>10}   "
        f"{t['batch_tokens'] / t['seconds']:>10,.0f}  ({t['dtype']})"
        for t in machine["timings"]
    ]
    return "\n".join(lines)
