"""What keeps a run's state safe: checkpoints in time, steps that are taken back, replays, processes that agree.

Whatever goes wrong is answered in one way: back to the newest good checkpoint, and on from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from isoflop.core.errors import DivergedError
from isoflop.core.products import StudyWarning
from isoflop.core.records import Audited, RolledBack, Saved, Spent
from isoflop.core.session import Session
from isoflop.train import audit
from isoflop.train.cadence import save_interval, seconds_between_failures
from isoflop.train.checkpoint import Place, Snapshot, Store, Written
from isoflop.train.guard import RISE_STEPS, Bad, Guard
from isoflop.train.trainer import Trainer

RUN = "target"
STAGE = "train"
MAX_ROLLBACKS = 5
"""A run that had to go back so often from one place is not going to be well."""
MAX_SPIKES = 8


class Clock:
    """Seconds of training behind the weights, also across kills; those of steps that were taken back included."""

    def __init__(self) -> None:
        self.before, self.started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started


class Safety:
    """The checkpoints of a run, when to write one, and when to go back to one."""

    def __init__(
        self,
        trainer: Trainer,
        session: Session,
        folder: Path,
        clock: Clock,
        *,
        history: Callable[[], tuple[list[float], float]],
        returned: Callable[[Place], None],
        run_seconds: float,
        between_failures: float = seconds_between_failures(0, 0.0),
    ) -> None:
        """``history`` tells what the run knows of itself beside trainer and clock, its validation losses and how far it
        was at the last one; ``returned`` lets it take that back."""
        self.trainer, self.session, self.clock = trainer, session, clock
        self.history, self.returned = history, returned
        self.run_seconds, self.between_failures = run_seconds, between_failures
        self.store, self.guard, self.trail = Store(folder), Guard(), audit.Trail()
        self._saved_at, self._save_seconds = time.monotonic(), (0.0, 0.0)
        """When the last save began; what the last one took, waiting and writing."""
        self._num_rollbacks = self._trouble = self._went_back_to = 0
        """New attempts since the run last got past its trouble; the step of that; where it went back to."""
        self._rolled_back_at, self._num_spikes, self._audit_seconds = 0.0, 0, 0.0

    def newest(self, *, at_most: int | None = None) -> Snapshot | None:
        """The newest good checkpoint; a warning for each that is not."""
        num_refused = len(self.store.refused)
        snapshot = self.store.latest(at_most=at_most)
        for error in self.store.refused[num_refused:]:
            self._warn("checkpoint_refused", f"{error}; the one before it serves")
        return snapshot

    @property
    def must_save(self) -> bool:
        waiting, writing = self._save_seconds
        due = save_interval(waiting, writing, between_failures=self.between_failures, run_seconds=self.run_seconds)
        return time.monotonic() - self._saved_at >= due

    def save(self) -> None:
        """Copies the state and lets it be written; only ever called behind steps that are sound."""
        with self.session.ledger.activity(STAGE, "checkpoint"):
            started = time.monotonic()
            self.store.wait()
            self.trainer.agree()
            losses, validated = self.history()
            snapshot = self.trainer.snapshot().of_run(seconds=self.clock.seconds, losses=losses, validated=validated)
            waiting = time.monotonic() - started

            def written(save: Written) -> None:
                self._save_seconds = (waiting, save.seconds)
                self.session.write(Saved(RUN, save.num_done, save.num_bytes, waiting, save.seconds))

            self.store.begin(snapshot, then=written)
            self._saved_at, self.trail = time.monotonic(), audit.Trail(self.trainer.num_done)
        if self.trainer.num_done > self._trouble:
            self._num_rollbacks = 0

    def sound(self, losses: list[float], norms: list[float]) -> bool:
        """Judges the last steps; False where they had to be taken back."""
        bad = self.guard.judge(losses, norms)
        if bad is not None and bad.reason == "spike" and self._bears_spikes():
            bad = self.guard.judge(losses, norms)
        if bad is not None:
            self._take_back(bad, self.trainer.num_done - len(losses))
        return bad is None

    def agreed(self) -> bool:
        """Whether all processes hold the same weights, after an outer step of those that train apart; where not, they
        go on from the newest checkpoint."""
        self.trainer.agree()
        ranks, step = self.trainer.together, self.trainer.num_done
        if ranks is None or ranks.alike(self.trainer):
            return True
        self._go_back(step, "ranks differ", [], at_most=step)
        return False

    @property
    def must_audit(self) -> bool:
        """Whether replaying what is behind the last checkpoint keeps within its share; only where bits repeat."""
        since, trainer = time.monotonic() - self._saved_at, self.trainer
        repeats = trainer.device.type == "cpu" and trainer.outer is None  # followers' momenta are in no checkpoint
        return repeats and self._audit_seconds + since <= audit.SHARE * self.clock.seconds

    def audit(self) -> None:
        """Does the steps since the last checkpoint once more; the state that is right stays."""
        started, trainer = time.monotonic(), self.trainer
        with self.session.ledger.activity(STAGE, "audit"):
            start = self.newest()
            if start is None or start.num_done != self.trail.start:
                return  # the checkpoint that the trail begins at is gone
            verdict = audit.audit(trainer, start, self.trail)
        seconds = time.monotonic() - started
        self._audit_seconds += seconds
        self.session.write(Audited(RUN, trainer.num_done, trainer.num_done - start.num_done, verdict, seconds))
        if verdict != "same":
            self._warn(
                "silent_corruption",
                f"steps {start.num_done} to {trainer.num_done} done once more ended with other bits ({verdict}): "
                "this machine's memory or cores err now and then",
            )

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a checkpoint of this run; the clock goes on."""
        self.trainer.restore(snapshot)
        self.trail = audit.Trail(snapshot.num_done)
        self.returned(snapshot.place)

    def rebook(self, activity: str, seconds: float) -> None:
        """Moves seconds of training to another activity: they are not behind the weights."""
        if seconds > 0:
            self.session.write(Spent(STAGE, "productive", -seconds))
            self.session.write(Spent(STAGE, activity, seconds))

    def _bears_spikes(self) -> bool:
        """Whether spikes come so often that they are this text's own, and are no longer judged."""
        self._num_spikes += 1
        if self._num_spikes <= MAX_SPIKES and self._num_rollbacks < MAX_ROLLBACKS:
            return False
        self.guard.spike_ratio = math.inf
        message = f"{self._num_spikes} batches far out of line: they seem to be part of this text, and are trained on"
        self._warn("spikes_borne", message)
        return True

    def _take_back(self, bad: Bad, judged_from: int) -> None:
        """Goes on from a checkpoint without the batches of ``bad``, as if they were not in the text."""
        steps = range(judged_from + bad.start, judged_from + bad.stop)
        batches = [self.trainer.batch_number(step) for step in steps]
        # what harmed it may have come some steps before it showed
        at_most = steps[0] - RISE_STEPS if bad.reason == "rise" else steps[0]
        if self._num_rollbacks:
            at_most = min(at_most, self._went_back_to - 1)
        self._go_back(steps[0], bad.reason, batches, at_most=at_most)
        self.guard.go_back(judged_from - self.trainer.num_done)

    def _go_back(self, step: int, reason: str, batches: list[int], *, at_most: int) -> None:
        """To the newest checkpoint of ``at_most`` steps, for a reason that arose at ``step``; from there on without
        ``batches``. Raises `DivergedError` where that has not helped before."""
        trainer, noticed = self.trainer, self.trainer.num_done
        self._num_rollbacks += 1
        if self._num_rollbacks > MAX_ROLLBACKS:
            raise DivergedError(
                f"the run diverges ({reason}) at step {step} after {MAX_ROLLBACKS} new attempts",
                where=RUN,
                remedy="Start again with another --seed",
            )
        skipped = sorted({*trainer.skipped, *batches})
        snapshot = self.newest(at_most=at_most)
        assert snapshot is not None, "a run saves before its first step"
        self.restore(snapshot)
        trainer.skipped = skipped
        self._trouble, self._went_back_to = step, trainer.num_done
        seconds = self.clock.seconds
        lost = seconds - max(snapshot.place.seconds, self._rolled_back_at)
        self._rolled_back_at = seconds
        self.rebook("rolled back", lost)
        self.session.write(RolledBack(RUN, noticed, trainer.num_done, reason, batches, lost))
        without = f", without {len(batches)} batches from number {batches[0]} on" if batches else ""
        self._warn("rolled_back", f"{reason} at step {step}: back to step {trainer.num_done}{without}")

    def _warn(self, code: str, message: str) -> None:
        self.session.warn(STAGE, StudyWarning(code, message))
