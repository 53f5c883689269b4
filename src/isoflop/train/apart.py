"""Processes that train apart: rounds of steps, and what is exchanged between them, by files in a folder all can see.

The leader's order for a round says from which weights to go, which windows of the stream to read and at which rates;
whoever is there takes the round's steps on its own sequences and leaves its weights. When the leader is through, it
takes the mean of what it finds, each by the steps behind it, and its outer step (`train.diloco`) makes the next
round's weights. So nobody waits for anybody in between, who drops out is missing from a mean, and who comes, or comes
back, joins the next round (Douillard et al. 2023, arXiv 2311.08105, section 3.1, on workers that come and go).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from isoflop.core import codec
from isoflop.core.errors import CorruptFileError, DivergedError, StudyError
from isoflop.core.files import read_json, verify, write_checked_json, write_digested, write_text
from isoflop.train.checkpoint import safetensors
from isoflop.train.diloco import OuterStep
from isoflop.train.layout import Layout
from isoflop.train.ranks import Ranks, Team
from isoflop.train.watchdog import Watchdog, watched

if TYPE_CHECKING:
    from isoflop.train.trainer import Trainer

ROUNDS = "rounds"
"""The folder's usual name, beside the checkpoints."""
ORDER = "order.json"
POLL_SECONDS = 0.02
PRESENCE_SECONDS = 1.0
"""How often one that waits says again that it is there: the leader may have cleared the folder since."""
PATIENCE, SLOWEST = 60.0, 50e6
"""Seconds that the leader waits for the weights of those that take part, when its own steps are done, and bytes a
second at which they may still come."""
COMING_SECONDS = 300.0
"""The leader waits before its first step for all to be there; `train.watchdog` is more patient."""
LEADERLESS_SECONDS = 6 * 3600.0
"""Without a new order; a leader validates, saves and compiles meanwhile."""
Part = tuple[list[Tensor], int]
"""Weights, and the steps that their process took towards them."""


@dataclass(frozen=True)
class Order:
    """What the leader asks of all; the file is replaced when anything changes."""

    name: str
    """Of the round; never given twice."""
    windows: list[int]
    """Of the stream, by step of the round."""
    scales: list[float]
    """Shares of the peak rate, by step."""
    is_open: bool = True
    """Steps are still to be taken; then weights are waited for."""
    is_end: bool = False
    """There will be no other round."""


class Apart(Team):
    """This process among those that train apart."""

    def __init__(self, folder: Path, rank: int, size: int, *, device: torch.device) -> None:
        super().__init__(rank, size, device=device)
        self.folder, self._order = folder, Order("", [], [], is_open=False)
        self._num_rounds, self._life = 0, uuid.uuid4().hex[:12]
        self._lives = dict[int, str]()
        """Those that took part in the last round: the leader waits for them in this one."""
        self._is_warm = False
        """Whether this follower has taken a step: its next ones will not compile."""
        self.num_absent = 0
        """Of the others, those without a part in the last round."""
        self._seen: tuple[tuple[int, int], Order] | None = None
        """The order as it was read last, and the file's version then."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.leads:
            for leftover in folder.glob("[!.]*"):  # what begins with a dot may be under way
                leftover.unlink(missing_ok=True)
        self._found = self._read_order()
        """What lay there: perhaps an earlier leader's end."""
        self._say_present()

    def begin(self, outer: OuterStep, steps: list[tuple[int, float]]) -> None:
        """The leader's: opens a round of these steps, from the weights as they are."""
        self._wait_for_all()
        self._num_rounds += 1
        windows, scales = map(list, zip(*steps, strict=True))
        self._order = Order(f"{self._life}-{self._num_rounds:06d}", windows, scales)
        _write_weights(self._weights(self._order), (outer.masters(), len(steps)))
        self._give(self._order)
        self._sweep(but=self._order.name)

    def finish(self, outer: OuterStep, num_steps: int) -> None:
        """The leader's: ends the round, ``num_steps`` of which it has done itself, with a step that all take."""
        self._order = replace(self._order, is_open=False)
        self._give(self._order)
        others = self._others(sum(master.nbytes for master in outer.masters()))
        self.num_absent = self.size - 1 - len(others)
        outer.step(_mean([(outer.masters(), num_steps), *others]))

    def follow(self, trainer: Trainer) -> None:
        """Takes part in one round after another, to the leader's end. A hang ends this process (`train.watchdog`).

        Raises `DivergedError` where its own weights are numbers no more, `StudyError` where no order comes.
        """
        assert trainer.outer is not None
        with watched(self.folder / f"hang-{self.rank}.txt", seconds=0.0, telling=lambda message: None) as dog:
            while not (order := self._next_order(dog)).is_end:
                self._order = order
                if (order.is_open or self._is_warm) and (start := _read_weights(self._weights(order))):
                    trainer.outer.adopt(start[0])
                    self._take_part(trainer, order, dog)

    def end(self) -> None:
        self._give(replace(self._order, is_open=False, is_end=True))
        self._sweep(but=ORDER)

    def _take_part(self, trainer: Trainer, order: Order, dog: Watchdog) -> None:
        assert trainer.outer is not None
        for number, (window, scale) in enumerate(zip(order.windows, order.scales, strict=True), start=1):
            if number == 1 and self._is_warm:
                self._say_here(order)
            dog.beat()
            trainer.apply(window, scale)
            if not self._is_warm:
                self._is_warm = True
                self._say_here(order)
            now = self._read_order()
            if now.name != order.name or now.is_end:
                return  # the leader went back, or ended
            if not now.is_open or number == len(order.windows):
                self._leave(order, trainer.outer.masters(), number)
                return

    def _leave(self, order: Order, weights: list[Tensor], num_steps: int) -> None:
        if not _are_numbers(weights):  # started anew, it has other momenta
            raise DivergedError(f"the weights of process {self.rank} are numbers no more", where=order.name)
        _write_weights(self._weights(order, self.rank), (weights, num_steps))

    def _others(self, num_bytes: int) -> list[Part]:
        """What those leave that take part, as far as it comes in time."""
        found, end = dict[int, Part](), time.monotonic() + PATIENCE + num_bytes / SLOWEST
        while (missing := self._taking_part() - found.keys()) and time.monotonic() < end:
            for rank in missing:
                if part := _read_weights(self._weights(self._order, rank)):
                    found[rank] = part
            time.sleep(POLL_SECONDS)
        self._lives = {rank: _content(self._present(rank)) for rank in found}
        return [found[rank] for rank in sorted(found) if _are_numbers(found[rank][0])]

    def _taking_part(self) -> set[int]:
        """The followers that took part in the last round, or say that they are here in this one, and have not been
        started anew since."""
        here = {rank: _content(self._here(self._order, rank)) for rank in range(1, self.size)}
        lives = self._lives | {rank: life for rank, life in here.items() if life}
        return {rank for rank, life in lives.items() if life == _content(self._present(rank))}

    def _wait_for_all(self) -> None:
        """Before the first round, for some time; afterwards for nobody."""
        end = time.monotonic() + COMING_SECONDS
        while not self._num_rounds and time.monotonic() < end:
            if all(self._present(rank).exists() for rank in range(1, self.size)):
                return
            time.sleep(POLL_SECONDS)

    def _next_order(self, dog: Watchdog) -> Order:
        """The first that is neither of the round that this process knows nor what lay there at its start."""
        started, said = time.monotonic(), 0.0
        while (order := self._read_order()) == self._found or (order.name == self._order.name and not order.is_end):
            dog.beat()
            if time.monotonic() - said > PRESENCE_SECONDS:
                self._say_present()
                said = time.monotonic()
            if said - started > LEADERLESS_SECONDS:
                raise StudyError(f"no order for {LEADERLESS_SECONDS / 3600:.0f} hours", where=str(self.folder))
            time.sleep(POLL_SECONDS)
        return order

    def _read_order(self) -> Order:
        with suppress(FileNotFoundError):
            path = self.folder / ORDER
            status = path.stat()
            version = (status.st_ino, status.st_mtime_ns)
            if self._seen is None or self._seen[0] != version:
                self._seen = version, codec.decode(Order, read_json(path), where=str(path))
            return self._seen[1]
        return Order("", [], [])

    def _give(self, order: Order) -> None:
        write_checked_json(self.folder / ORDER, codec.encode(order))

    def _sweep(self, *, but: str) -> None:
        """Removes what belongs to other rounds than the one of this name."""
        for path in [*self.folder.glob("weights-*"), *self.folder.glob("here-*")]:
            if but not in path.name:
                path.unlink(missing_ok=True)

    def _say_present(self) -> None:
        if not self.leads:
            write_text(self._present(self.rank), self._life)

    def _say_here(self, order: Order) -> None:
        write_text(self._here(order, self.rank), self._life)

    def _present(self, rank: int) -> Path:
        return self.folder / f"present-{rank}"

    def _here(self, order: Order, rank: int) -> Path:
        return self.folder / f"here-{order.name}-{rank}"

    def _weights(self, order: Order, rank: int = 0) -> Path:
        """The leader's are those to go from."""
        return self.folder / f"weights-{order.name}-{rank}.safetensors"


def team_of(layout: Layout, folder: Path, device: torch.device) -> Team | None:
    """This process's, by RANK and WORLD_SIZE as torchrun and `train/supervise.py` set them; None where it is alone.
    Rounds of a layout that has them are in ``folder``."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1 and layout.agree_every:
        return Apart(folder, int(os.environ["RANK"]), size, device=device)
    return Ranks.from_environment(device)


def _mean(parts: Sequence[Part]) -> list[Tensor]:
    """Of the weights of several, each by the steps that it took."""
    total = sum(num_steps for _, num_steps in parts)
    columns = zip(*(weights for weights, _ in parts), strict=True)
    return [_summed(column, [num_steps / total for _, num_steps in parts]) for column in columns]


def _are_numbers(weights: Sequence[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in weights)


def _summed(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    found = torch.zeros_like(tensors[0])
    for tensor, share in zip(tensors, shares, strict=True):
        found.add_(tensor.to(found.device), alpha=share)
    return found


def _write_weights(path: Path, part: Part) -> None:
    """With a receipt beside them, which is written last."""
    tensors = {str(number): tensor.detach().cpu().contiguous() for number, tensor in enumerate(part[0])}
    receipt = {"sha256": write_digested(path, safetensors(tensors)), "steps": part[1]}
    write_checked_json(_receipt(path), receipt)


def _read_weights(path: Path) -> Part | None:
    """None where they are not there, not yet or not any more, or not as they were written."""
    try:
        receipt = read_json(_receipt(path))
        verify(path, receipt["sha256"])
        tensors = load_file(path)
    except (FileNotFoundError, CorruptFileError):
        return None
    return [tensors[str(number)] for number in range(len(tensors))], int(receipt["steps"])


def _receipt(path: Path) -> Path:
    return path.with_suffix(".json")


def _content(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text()
    return ""
