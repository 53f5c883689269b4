from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.core.card import Tally, TextShard
from isoflop.core.files import write_bytes
from isoflop.fleet.local import Local
from isoflop.text.receipts import Done, Outlet, Piece, Portion, Workshop, key_of

LOG = "log"


class Killed(Exception):
    pass


def work(argument: tuple[str, int, int | None], outlet: Outlet) -> Iterator[Portion]:
    """Writes so many files of one number each, as one that is killed before file ``killed_at`` does."""
    name, count, killed_at = argument
    for i in range(outlet.position, count):
        if i == killed_at:
            raise Killed
        file = f"{outlet.stem}.bin"
        write_bytes(outlet.folder / file, f"{name}{i}".encode())
        with (outlet.folder.parent / LOG).open("a") as log:
            log.write(f"{name}{i} ")
        yield Portion([TextShard(file, "", 1, 2)], Tally(num_read=1), position=i + 1, is_last=i == count - 1)


def done(folder: Path, *arguments: tuple[str, int, int | None], num_processes: int = 1) -> Done:
    pieces = [Piece(key_of("work", argument[:2]), argument) for argument in arguments]
    return Workshop(folder, Local(num_processes)).carry_out("stage", work, pieces)


def log(folder: Path) -> str:
    path = folder / LOG
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text.strip()


def contents(done: Done) -> list[str]:
    return [(done.folder / shard.file).read_text() for shard in done.outputs]


def test_what_has_a_receipt_is_not_done_again(tmp_path: Path) -> None:
    first = done(tmp_path, ("a", 2, None), ("b", 1, None))
    assert log(tmp_path) == "a0 a1 b0" and contents(first) == ["a0", "a1", "b0"]
    assert first.tally.num_read == 3 and first.cost(2.0).joules == 2 * first.cost(1.0).cpu_seconds
    second = done(tmp_path, ("a", 2, None), ("b", 1, None))
    assert log(tmp_path) == "" and second == first


def test_what_changed_is_done_and_what_it_was_is_gone(tmp_path: Path) -> None:
    done(tmp_path, ("a", 2, None), ("b", 1, None))
    log(tmp_path)
    changed = done(tmp_path, ("b", 1, None), ("a", 3, None), ("c", 1, None))
    assert log(tmp_path) == "a0 a1 a2 c0" and contents(changed) == ["b0", "a0", "a1", "a2", "c0"]
    assert len(list((tmp_path / "stage").iterdir())) == 2 * 5


def test_a_kill_loses_what_was_under_way_alone(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        done(tmp_path, ("a", 3, 2))
    (tmp_path / "stage" / ".half.bin.x1").write_text("half")
    assert log(tmp_path) == "a0 a1"
    assert contents(done(tmp_path, ("a", 3, None))) == ["a0", "a1", "a2"]
    assert log(tmp_path) == "a2" and not list((tmp_path / "stage").glob(".*"))


@pytest.mark.parametrize("damage", ["missing file", "missing receipt", "flipped receipt", "half a receipt"])
def test_what_lost_its_receipt_or_file_is_done_again(tmp_path: Path, damage: str) -> None:
    first = done(tmp_path, ("a", 3, None))
    log(tmp_path)
    receipt = sorted((tmp_path / "stage").glob("*.json"))[1]
    if damage == "missing file":
        receipt.with_suffix(".bin").unlink()
    elif damage == "missing receipt":
        receipt.unlink()
    elif damage == "flipped receipt":
        receipt.write_text(receipt.read_text().replace('"num_read": 1', '"num_read": 7'))
    else:
        receipt.write_text(receipt.read_text()[:50])
    again = done(tmp_path, ("a", 3, None))
    assert log(tmp_path) == "a1 a2" and contents(again) == contents(first) and again.tally.num_read == 3


def test_processes_give_the_same_in_the_same_order(tmp_path: Path) -> None:
    arguments = [(name, 2, None) for name in "abcd"]
    assert contents(done(tmp_path, *arguments, num_processes=2)) == [f"{n}{i}" for n in "abcd" for i in range(2)]


def test_keys_tell_all_that_matters_apart() -> None:
    keys = {key_of(*parts) for parts in [("a", 1), ("a", 2), ("b", 1), ("a1",), ("a", "1"), (["a", 1],)]}
    assert len(keys) == 6 and key_of("a", 1) == key_of("a", 1)
