from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.core.errors import BudgetError, IsoflopError
from isoflop.estimate.devices import find_device, names

HEADER = "name,also,bf16_tflops,fp8_tflops,matmul_tflops,memory_gb,memory_tbps,watts,link_gbps,node_size,network_gbps"


@pytest.mark.parametrize(
    ("name", "found"), [("h100", "H100"), ("A100", "A100-80"), ("a100-40", "A100-40"), ("Mi300x", "MI300X")]
)
def test_names_people_use(name: str, found: str) -> None:
    assert find_device(name).name == found


def test_units() -> None:
    device = find_device("h100")
    assert (device.bf16_flops, device.memory_bytes, device.link_bytes_per_second) == (989.5e12, 80e9, 450e9)
    assert device.node_size == 8 and device.dollars_per_hour == 2.95 and device.price_source == "Nebius"


def test_every_device_can_be_reckoned_with() -> None:
    assert all(0.4 < find_device(name).matmul_flops / find_device(name).bf16_flops < 1 for name in names())


def test_an_unknown_device_lists_near_matches() -> None:
    with pytest.raises(BudgetError, match=r"unknown device 'h10'.*H100"):
        find_device("h10")


def test_ones_own_devices_come_first(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text(f"# ours\n{HEADER}\nH100,mine,900,,700,94,3.9,400,600,4,50\n")
    device = find_device("mine", mine)
    assert device == find_device("h100", mine) and device.memory_bytes == 94e9 and device.dollars_per_hour is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("X,,900,,700,many,3.9,400,600,4,50", "mine.csv:2: memory_gb is 'many'"),
        ("X,,900,,700,-1,3.9,400,600,4,50", "mine.csv:2: memory_gb is '-1'"),
        ("X,,,,700,94,3.9,400,600,4,50", "mine.csv:2: no bf16_tflops"),
        ("X,,900", "mine.csv:2: no memory_gb"),
        (",,900,,700,94,3.9,400,600,4,50", "mine.csv:2: no name"),
        ("X,,900,,700,94,3.9,400,600,.5,50", "mine.csv:2: node_size is 0.5"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_by_line_and_column(tmp_path: Path, row: str, told: str) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text(f"{HEADER}\n{row}\n")
    with pytest.raises(BudgetError, match=told):
        find_device("x", mine)


def test_ones_own_devices_are_listed_too(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text(f"{HEADER}\nTPU,,900,,700,94,3.9,400,600,4,50\n")
    assert [name for name in names(mine) if name not in set(names())] == ["TPU"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsoflopError, match=r"none.csv: cannot be read \(No such file or directory\)\. A row has name"):
        find_device("x", tmp_path / "none.csv")
    (tmp_path / "mine.csv").write_bytes(b"name\xff")
    with pytest.raises(IsoflopError, match=r"mine\.csv, byte 4: not UTF-8 text"):
        find_device("x", tmp_path / "mine.csv")
