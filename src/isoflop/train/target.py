"""The target run: trains by the clock, lands on the end of its decay, validates, saves, and goes on after a kill."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from isoflop.core.errors import Interrupted
from isoflop.core.products import Plan, StudyWarning
from isoflop.core.records import Alert, Evaluation, Landing
from isoflop.core.session import Session
from isoflop.evaluate.score import Scores, bits_per_byte_of
from isoflop.train.alerts import Alerts
from isoflop.train.cadence import seconds_between_failures
from isoflop.train.checkpoint import Place, Store
from isoflop.train.landing import Pace, landed
from isoflop.train.meter import StepMeter
from isoflop.train.pilot import run_started, validate
from isoflop.train.safety import RUN, STAGE, Clock, Safety
from isoflop.train.schedule import Anchor
from isoflop.train.stop import Stopped, StopRequest, stop_requests
from isoflop.train.trainer import Trainer
from isoflop.train.watchdog import Watchdog, watched

BEST = "best"
"""Folder of the checkpoint whose validation loss was least; only where the plan repeats text."""
STACKS = "hang.txt"
"""Beside the checkpoints: where every thread of a run was that hung."""
NUM_EVALUATIONS = 8
EVALUATION_SHARE = 0.01
"""Share of the training time that validation may take (a forward pass costs a third of a step)."""
LEAST_TOKENS = 100_000
"""Of a validation that several processes wait for; of fewer a rise could not be told from chance."""
WORSE_NATS = 0.01
"""Rise of the validation loss over its best that, twice in a row, starts the decay early (repeated data)."""


class TargetRun:
    """One training run and its bookkeeping; ``seconds`` counts its own time, also across kills."""

    def __init__(
        self,
        trainer: Trainer,
        plan: Plan,
        session: Session,
        *,
        corpus: Path,
        folder: Path,
        peak_flops: float,
        between_failures: float = seconds_between_failures(0, 0.0),
    ) -> None:
        self.trainer, self.plan, self.session = trainer, plan, session
        self.corpus, self.peak_flops = corpus, peak_flops
        self.clock, self.pace, self.alerts = Clock(), Pace(), Alerts(RUN)
        self.safety = Safety(
            trainer,
            session,
            folder,
            self.clock,
            history=lambda: (self.losses, self.validated),
            returned=self._returned,
            run_seconds=plan.training_seconds,
            between_failures=between_failures,
        )
        self.best = Store(folder / BEST, keep=1)
        self.meter = StepMeter(session.write, RUN, trainer)
        self.losses: list[float] = []
        """Validation losses behind the current weights, nats per token; noted where the plan repeats text."""
        self.validated = trainer.progress
        """Share of the schedule that was done at the last validation, or at the start."""

    def resume(self, seconds_booked: float) -> None:
        """Goes on from the newest good checkpoint, if there is one; what was booked beyond it is moved to ``lost``."""
        snapshot = self.safety.newest()
        if snapshot is not None:
            self.safety.restore(snapshot)
            self.clock.before = snapshot.place.seconds
            self.meter.started -= snapshot.place.seconds
        self.safety.rebook("lost", seconds_booked - self.clock.before)

    def _returned(self, place: Place) -> None:
        """Takes back what the run knows of itself, its trainer being back at an earlier checkpoint."""
        self.losses, self.validated = list(place.losses), place.validated
        self.pace = Pace()
        self.meter.restart()

    def run(self) -> None:
        """Trains to the end of the schedule; raises `Interrupted` after saving when a signal asks to stop."""
        self.session.write(run_started(RUN, "target", self.trainer, dtype=self.plan.dtype, compiled=self.plan.compiled))
        try:
            with self._watched() as dog:
                if self.safety.store.is_empty:
                    self.safety.save()  # where a first spike goes back to
                with stop_requests() as request:
                    try:
                        self._train(request, dog)
                    except Stopped:
                        self._interrupt(request)
                dog.beat()
                self._restore_best()
                self.safety.store.wait()
                self.best.wait()
        finally:  # a thread that still writes would tell records that are closed
            self.safety.store.join()
            self.best.join()

    def _watched(self) -> AbstractContextManager[Watchdog]:
        def tell(message: str) -> None:
            self.session.write(Alert(RUN, self.trainer.num_done, "hung", message))

        stacks = self.safety.store.folder / STACKS
        return watched(stacks, seconds=self.plan.training_seconds, telling=tell)

    def _train(self, request: StopRequest, dog: Watchdog) -> None:
        self.meter.restart()
        trainer, started = self.trainer, False
        while trainer.num_done < trainer.anchor.num_steps:
            dog.beat()
            with nullcontext() if started else request.at_once():  # the first may compile, and nothing is new yet
                self.meter.add(trainer.step())
            started = True
            self.pace.mark(trainer.num_done)
            asked = request.name is not None
            save, evaluate, report = asked or self.safety.must_save, self._must_evaluate(), self.meter.due
            ended = trainer.progress == 1.0
            if (save or evaluate or report or ended) and self._settled():
                if report and not ended:
                    self._land()
                if not asked:  # otherwise nothing comes before saving
                    if (save or evaluate or ended) and not self.safety.agreed():
                        continue
                    if evaluate:
                        self._evaluate(request)
                    if save and self.safety.must_audit:
                        self.safety.audit()
                        self.pace = Pace()
                        self.meter.restart()
                if save or request.name is not None:
                    self.safety.save()
                if request.name is not None:
                    self._interrupt(request)
        self.safety.save()
        self._evaluate(request)
        if request.name is not None:
            self._interrupt(request)

    def _interrupt(self, request: StopRequest) -> None:
        self.safety.store.wait()
        raise Interrupted(
            f"stopped by {request.name} at step {self.trainer.num_done}; everything is saved",
            remedy="Go on with: isoflop resume",
        )

    def _settled(self) -> bool:
        """Records the steps since the last time; False where they had to be taken back instead."""
        if not self.meter.results:
            return True
        sound = self.safety.sound(*self.meter.pending())
        if sound:
            self._report()
        return sound

    def _report(self) -> None:
        step = self.meter.flush()
        if step is not None:
            annealing = self.trainer.progress >= 1 - self.trainer.recipe.decay_fraction
            absent = self.trainer.apart.num_absent if self.trainer.apart else 0
            for alert in self.alerts.judge(step, annealing=annealing, num_absent=absent):
                self.session.write(alert)
                self.session.progress.note(f"alert [{alert.code}]: {alert.message}")
            self.session.progress.update(
                self.trainer.progress,
                loss=step.loss,
                tokens_per_second=step.tokens_per_second,
                share_of_peak=step.flops_per_second / self.peak_flops,
            )

    def _land(self) -> None:
        pace = self.pace.seconds_per_step
        if pace is None:
            return
        trainer, left = self.trainer, self.plan.training_seconds - self.clock.seconds
        anchor = landed(trainer.anchor, trainer.num_done, seconds_per_step=pace, seconds_left=left)
        self._anchor(anchor)

    def _anchor(self, anchor: Anchor) -> None:
        trainer = self.trainer
        if anchor != trainer.anchor:
            trainer.anchor = self.safety.trail.anchors[trainer.num_done] = anchor
            self.session.write(Landing(RUN, trainer.num_done, trainer.progress, trainer.anchor.num_steps))

    def _must_evaluate(self) -> bool:
        """Whether another eighth of the schedule is done; the last validation follows the end."""
        eighth = math.floor(self.trainer.progress * NUM_EVALUATIONS + 1e-9)
        return math.floor(self.validated * NUM_EVALUATIONS + 1e-9) < eighth < NUM_EVALUATIONS

    def _evaluate(self, request: StopRequest | None = None) -> None:
        """Validates and records; not to the end where a signal asks to stop."""
        try:
            whole = not self.trainer.layout.divided  # else the others are in the middle of bringing it together
            with request.at_once() if request and whole else nullcontext():
                scores = self._validated()
        except Stopped:
            return
        self.validated = self.trainer.progress
        self.meter.restart()
        if self._epochs > 1:
            self._judge(scores.loss)

    @property
    def _epochs(self) -> float:
        """Of the text, at the end as it stands; more than planned where the machine turned out faster."""
        recipe, trainer = self.trainer.recipe, self.trainer
        tokens = trainer.first_window * recipe.context + trainer.anchor.num_steps * recipe.batch_tokens
        return tokens / recipe.unique_tokens

    def _validated(self) -> Scores:
        num_tokens = EVALUATION_SHARE / NUM_EVALUATIONS * 3 * self.plan.tokens
        if self.trainer.ranks and num_tokens > LEAST_TOKENS:  # one of them validates, and the others wait
            num_tokens = max(num_tokens / self.trainer.ranks.size, LEAST_TOKENS)
        with self.session.ledger.activity(STAGE, "evaluation"):
            started = time.monotonic()
            scores = validate(self.trainer, self.corpus, num_tokens=int(num_tokens), dtype=self.plan.dtype)
            self.session.write(
                Evaluation(
                    run=RUN,
                    split="val",
                    step=self.trainer.num_done,
                    tokens=self.trainer.tokens_seen,
                    loss=scores.loss,
                    bits_per_byte=bits_per_byte_of(scores),
                    num_bytes=int(scores.num_bytes.sum()),
                    seconds=time.monotonic() - started,
                )
            )
        return scores

    def _judge(self, loss: float) -> None:
        """What a validation loss means for a run that repeats text."""
        self._keep_best(loss)
        self.losses.append(loss)
        self._stop_early()

    def _keep_best(self, loss: float) -> None:
        if loss < min(self.losses, default=math.inf):
            with self.session.ledger.activity(STAGE, "checkpoint"):
                self.best.begin(self.trainer.snapshot())

    def _restore_best(self) -> None:
        """Goes back to the best validated weights where the last ones are worse: more epochs than the text bears."""
        worse = self.losses[-1] - min(self.losses) if self.losses else 0.0
        best = self.best.latest() if worse > WORSE_NATS else None
        if best is None:
            return
        trainer = self.trainer
        last = trainer.tokens_seen
        trainer.restore(best)
        trainer.anchor = Anchor(0, 1.0, trainer.num_done, final=True)  # a resumed run finds itself at its end
        self.safety.save()
        self._evaluate()  # the record's last word is about the weights that are kept
        message = (
            f"validation rose by {worse:.2f} nats from {trainer.tokens_seen:,} to {last:,} tokens: the weights of "
            "the former are kept; more text would help, more time would not"
        )
        self.session.warn(STAGE, StudyWarning("best_restored", message))

    def _stop_early(self) -> None:
        """Starts the decay at once where repeated text makes validation worse: the rest would only overfit."""
        rose = min(self.losses[-2:]) > min(self.losses[:-2], default=math.inf) + WORSE_NATS
        trainer = self.trainer
        stable = 1 - trainer.recipe.decay_fraction
        if not rose or trainer.progress >= stable:
            return
        decay_steps = round(trainer.num_done * trainer.recipe.decay_fraction / stable)
        self._anchor(Anchor(trainer.num_done, stable, trainer.num_done + decay_steps, final=True))
        message = f"validation rose twice after {trainer.tokens_seen / trainer.recipe.unique_tokens:.1f} epochs"
        self.session.warn(
            STAGE, StudyWarning("stopped_early", f"{message}: the decay starts now, the budget is not used up")
        )
