"""Stages of work, each a function from one piece of its input to files with a receipt; what has one is not redone.

A receipt is written after the files it names, so a kill loses the piece that was under way and nothing else. Its key
holds all that the files depend on: other input or other parameters make another key, and with it other files.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from isoflop.core import codec
from isoflop.core.card import StageCost, Tally, TextShard
from isoflop.core.errors import CorruptFileError
from isoflop.core.executor import Executor
from isoflop.core.files import read_json, write_checked_json


@dataclass(frozen=True)
class Piece:
    """One piece of a stage's work."""

    key: str
    """Hex: another one for other input or parameters (`key_of`)."""
    argument: Any
    """What the stage's function is given; can be sent to another process."""
    size: int = 0
    """How much work it is beside others, in bytes: the most is begun first, lest all wait for it at the end."""

    @property
    def name(self) -> str:
        """What its files are called."""
        return self.key[:16]


@dataclass(frozen=True)
class Portion:
    """What a stage's function has finished, its files written."""

    outputs: list[TextShard]
    tally: Tally = field(default_factory=Tally)
    position: int = 0
    """Items of the piece's input that are behind it: where to go on after a kill."""
    is_last: bool = True


@dataclass(frozen=True)
class Receipt:
    key: str
    portion: Portion
    seconds: float
    cpu_seconds: float


@dataclass
class Outlet:
    """Where a stage's function leaves its files."""

    folder: Path
    name: str
    num_portions: int
    position: int
    """Items of the piece's input to leave out: they are in the portions that there are."""

    @property
    def stem(self) -> str:
        """How the names of the next portion's files begin."""
        return f"{self.name}-{self.num_portions:03d}"


Work = Callable[[Any, Outlet], Iterator[Portion]]
"""Yields a portion as soon as its files are written."""


@dataclass(frozen=True)
class Done:
    """A finished stage."""

    stage: str
    folder: Path
    receipts: list[list[Receipt]]
    """Of each piece, in the order of the pieces."""

    @property
    def outputs(self) -> list[TextShard]:
        return [shard for receipts in self.receipts for receipt in receipts for shard in receipt.portion.outputs]

    @property
    def tally(self) -> Tally:
        return Tally.total([receipt.portion.tally for receipts in self.receipts for receipt in receipts])

    def cost(self, watts: float) -> StageCost:
        """With ``watts`` for a busy core."""
        seconds = sum(receipt.cpu_seconds for receipts in self.receipts for receipt in receipts)
        return StageCost(self.stage, sum(map(len, self.receipts)), seconds, watts * seconds)


def key_of(*parts: Any) -> str:
    """Hex SHA-256 of values that `codec.encode` makes JSON of."""
    return hashlib.sha256(json.dumps([codec.encode(part) for part in parts]).encode()).hexdigest()


@dataclass(frozen=True)
class Workshop:
    """Where stages are carried out."""

    folder: Path
    """Each stage has a folder of its name in it."""
    executor: Executor
    tell: Callable[[str, float], None] = lambda stage, fraction: None
    """Is told of a stage and the share of it that is done."""

    def carry_out(self, stage: str, work: Work, pieces: Sequence[Piece], *, folder: Path | None = None) -> Done:
        """Does what has no receipt yet in the stage's ``folder``; then removes files of other keys there.

        Raises what ``work`` raises.
        """
        folder = folder or self.folder / stage
        self.tell(stage, 0.0)
        found = [_receipts(folder, piece) for piece in pieces]
        missing = [(piece, receipts) for piece, receipts in zip(pieces, found, strict=True) if not _whole(receipts)]
        missing.sort(key=lambda each: each[0].size, reverse=True)
        made: dict[str, list[Receipt]] = {}
        for key, receipts in self.executor.map(partial(_carry_out, work, folder), missing):
            made[key] = receipts
            self.tell(stage, 1 - (len(missing) - len(made)) / len(pieces))
        _sweep(folder, {piece.name for piece in pieces})
        return Done(stage, folder, [made.get(piece.key, each) for piece, each in zip(pieces, found, strict=True)])


def _carry_out(work: Work, folder: Path, missing: tuple[Piece, list[Receipt]]) -> tuple[str, list[Receipt]]:
    """Goes on with one piece after the receipts it has. Runs wherever the executor takes it."""
    piece, receipts = missing
    outlet = Outlet(folder, piece.name, len(receipts), receipts[-1].portion.position if receipts else 0)
    seconds, cpu_seconds = time.monotonic(), time.process_time()
    for portion in work(piece.argument, outlet):
        now, cpu_now = time.monotonic(), time.process_time()
        receipt = Receipt(piece.key, portion, now - seconds, cpu_now - cpu_seconds)
        write_checked_json(folder / f"{outlet.stem}.json", codec.encode(receipt))
        receipts = [*receipts, receipt]
        outlet.num_portions += 1
        seconds, cpu_seconds = now, cpu_now
    return piece.key, receipts


def _receipts(folder: Path, piece: Piece) -> list[Receipt]:
    """Those of the piece in ``folder`` whose files are there, up to the first that is missing."""
    found: list[Receipt] = []
    while (path := folder / f"{piece.name}-{len(found):03d}.json").is_file():
        try:
            receipt: Receipt = codec.decode(Receipt, read_json(path), where=str(path))
        except (ValueError, CorruptFileError):
            break
        if receipt.key != piece.key or not all((folder / shard.file).is_file() for shard in receipt.portion.outputs):
            break
        found.append(receipt)
    return found


def _whole(receipts: list[Receipt]) -> bool:
    return bool(receipts) and receipts[-1].portion.is_last


def _sweep(folder: Path, names: set[str]) -> None:
    """Removes what earlier inputs or parameters, or a kill, left."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.split("-")[0] not in names:
            path.unlink()
