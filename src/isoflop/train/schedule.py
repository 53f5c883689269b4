"""Warmup, stable, decay in fractions of the budget, and how a run lands when its budget does."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.core.products import Recipe


def rate_scale(progress: float, recipe: Recipe) -> float:
    """Learning-rate multiplier at ``progress`` (share of the schedule done, 0 to 1).

    Linear warmup, constant, linear decay to zero (warmup-stable-decay; Haegele et al. 2024, arXiv 2405.18392).
    """
    warmup = min(1.0, progress / recipe.warmup_fraction) if recipe.warmup_fraction else 1.0
    decay = min(1.0, (1.0 - progress) / recipe.decay_fraction) if recipe.decay_fraction else 1.0
    return max(0.0, min(warmup, decay))


@dataclass(frozen=True)
class Anchor:
    """From ``step`` on, where ``progress`` of the schedule is done, the run ends at ``num_steps``."""

    step: int
    progress: float
    num_steps: int
    final: bool = False
    """The end was brought forward on purpose: it may come sooner still, never later."""

    def progress_at(self, step: int) -> float:
        """Share of the schedule done after ``step`` steps; continuous at the anchor, 1 at the end."""
        left = max(1, self.num_steps - self.step)
        if step - self.step >= left:
            return 1.0  # p + (1 - p) can be a little less, and a run that waits for 1 would go on
        return min(1.0, self.progress + (1.0 - self.progress) * (step - self.step) / left)

    def moved(self, step: int, num_steps: int) -> Anchor:
        """The same schedule, its rest stretched or shrunk from ``step`` on to end at ``num_steps``."""
        return Anchor(step, self.progress_at(step), max(step + 1, num_steps), self.final)
