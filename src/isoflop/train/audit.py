"""Silent corruption: the steps since a checkpoint once more, to see whether they end with the same bits.

On one machine equal arguments give equal bits, so a difference is a bit that memory or a core got wrong, be it in the
run or in the replay; a second replay decides. What was wrong before the checkpoint, or in steps that are not replayed,
stays unseen: fleets see about one such error a few thousand machines (Dixit et al. 2021, arXiv 2102.11245).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch

from isoflop.train.checkpoint import Snapshot
from isoflop.train.schedule import Anchor
from isoflop.train.trainer import Trainer

SHARE = 0.01
"""Of the training time that replaying may take."""


@dataclass
class Trail:
    """What happened to a run since a checkpoint that its state does not tell: the schedule's new ends, by step."""

    start: int = 0
    """Steps behind that checkpoint."""
    anchors: dict[int, Anchor] = field(default_factory=dict)


def audit(trainer: Trainer, start: Snapshot, trail: Trail) -> str:
    """Replays the steps from ``start`` to where ``trainer`` stands; leaves it in the state that is right.

    Returns ``same``; ``live`` where the run's own bits were wrong and the replay's are kept; ``replay`` where it was
    the first replay that was wrong; ``unclear`` where no two agree, the run's own then being kept.
    """
    live = trainer.snapshot()
    right = digest(live)
    first = _replayed(trainer, start, live, trail)
    if first == right:
        return "same"
    second = _replayed(trainer, start, live, trail)
    if second == first:
        return "live"
    trainer.restore(live)
    return "replay" if second == right else "unclear"


def _replayed(trainer: Trainer, start: Snapshot, live: Snapshot, trail: Trail) -> str:
    """Goes from ``start`` to where ``live`` is, without the batches that it passed over; the state's digest there."""
    trainer.restore(start)
    trainer.skipped = list(live.place.skipped)  # noted since the checkpoint, and all of later batches
    while trainer.num_done < live.num_done:
        trainer.anchor = trail.anchors.get(trainer.num_done, trainer.anchor)
        trainer.step()
    trainer.anchor = trail.anchors.get(live.num_done, trainer.anchor)
    return digest(trainer.snapshot())


def digest(snapshot: Snapshot) -> str:
    """SHA-256 of the bytes of every tensor of a run's state."""
    whole = hashlib.sha256()
    for name, tensor in sorted(snapshot.tensors.items()):
        whole.update(name.encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()
