"""What accelerators can do, as their makers and others who measured say; ``devices.csv``, and a person's own rows."""

from __future__ import annotations

import csv
import difflib
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from isoflop.core.errors import BudgetError
from isoflop.core.files import read_text

USUAL_MATMUL_SHARE = 0.75
"""Of the peak that the best product reaches, where nobody measured it (the others: .51 to .97, median .79)."""
_COLUMNS = {
    "bf16_tflops": 1e12,
    "fp8_tflops": 1e12,
    "matmul_tflops": 1e12,
    "memory_gb": 1e9,
    "memory_tbps": 1e12,
    "watts": 1.0,
    "link_gbps": 1e9,
    "node_size": 1.0,
    "network_gbps": 1e9,
    "usd_per_hour": 1.0,
    "usd_spot_per_hour": 1.0,
}
"""Numbers of a row, and what one of their unit is in ours."""
_NEEDED = ("bf16_tflops", "memory_gb", "memory_tbps", "watts", "link_gbps", "node_size", "network_gbps")
_A_ROW = f"A row has name and {', '.join(_NEEDED)}"


@dataclass(frozen=True)
class Device:
    """One accelerator in the node that it usually comes in. FLOP/s, bytes, bytes/s in one direction, watts, dollars."""

    name: str
    bf16_flops: float
    fp8_flops: float | None
    matmul_flops: float
    """Of the best bfloat16 product that was measured, or is expected."""
    memory_bytes: float
    memory_bytes_per_second: float
    watts: float
    """Thermal design power."""
    link_bytes_per_second: float
    """To the others of its node."""
    node_size: int
    network_bytes_per_second: float
    """To other nodes, its share of the node's."""
    dollars_per_hour: float | None
    spot_dollars_per_hour: float | None
    price_source: str


def find_device(name: str, more: Path | None = None) -> Device:
    """The device of this name (``h100``, ``A100-80``), one of the file ``more`` first.

    Raises `BudgetError` with near matches for an unknown one, and for a row of ``more`` that cannot be read;
    `IsoflopError` where the file itself cannot.
    """
    known = _known(more)
    key = name.strip().casefold()
    if key not in known:
        near = dict.fromkeys(known[match].name for match in difflib.get_close_matches(key, known, n=4, cutoff=0.4))
        listed = ", ".join(near or dict.fromkeys(device.name for device in known.values()))
        remedy = f"Take one of {listed}; or describe it in a file for --devices"
        raise BudgetError(f"unknown device {name!r}", where="--device", remedy=remedy)
    return known[key]


def _known(more: Path | None) -> dict[str, Device]:
    """By name and other names."""
    if more is None:
        return _ours()
    return _ours() | _read(read_text(more, remedy=_A_ROW).splitlines(), str(more))


@functools.cache
def _ours() -> dict[str, Device]:
    text = resources.files("isoflop.estimate").joinpath("devices.csv").read_text(encoding="utf-8")
    return _read(text.splitlines(), "devices.csv")


def _read(lines: list[str], file: str) -> dict[str, Device]:
    """By name and other names, case-folded."""
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    rows = csv.DictReader(line for _, line in numbered)
    known = {}
    for row in rows:
        number, _ = numbered[rows.line_num - 1]
        device = _device(row, f"{file}:{number}")
        for name in (device.name, *(row.get("also") or "").split()):
            known[name.casefold()] = device
    return known


def _device(row: dict[str, str], where: str) -> Device:
    values = {column: _number(row.get(column) or "", column, where) for column in _COLUMNS}
    missing = [column for column in _NEEDED if values[column] is None]
    if missing or not row.get("name"):
        what = f"no {(missing or ['name'])[0]}"
        raise BudgetError(what, where=where, remedy=_A_ROW)
    numbers = [
        value if value is None else value * unit for value, unit in zip(values.values(), _COLUMNS.values(), strict=True)
    ]
    peak, fp8, matmul, memory, speed, watts, link, node, network, price, spot = numbers
    assert peak and memory and speed and watts and link and node and network
    if node != int(node):
        raise BudgetError(f"node_size is {node:g}", where=where, remedy="Write how many devices a node has: 8, say")
    best = matmul or USUAL_MATMUL_SHARE * peak
    source = row.get("price_source") or ""
    return Device(row["name"], peak, fp8, best, memory, speed, watts, link, int(node), network, price, spot, source)


def _number(text: str, column: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise BudgetError(f"{column} is {text!r}", where=where, remedy="Write a number above zero, or nothing")
    return value


def names(more: Path | None = None) -> Iterable[str]:
    """Of all devices that come with isoflop, and of those in the file ``more``."""
    return dict.fromkeys(device.name for device in _known(more).values())
