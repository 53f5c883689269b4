"""How several processes divide a run among them, and what does not go together."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.core.errors import StudyError
from isoflop.core.products import Plan
from isoflop.model.config import ModelConfig
from isoflop.train.shares import require_even
from isoflop.train.slices import OPTION, require_divisible


@dataclass(frozen=True)
class Layout:
    """Each process has its part of every batch, and perhaps more."""

    sharded: bool = False
    """Each holds only its share of weights, gradients and optimizer (`train.shares`)."""
    agree_every: int | None = None
    """They train apart for so many steps at a time (`train.diloco`)."""
    slices: int = 1
    """So many neighbours compute every layer together (`train.slices`); each such group has its part of the batch."""

    @property
    def divided(self) -> bool:
        """Whether no process has all of the model."""
        return self.sharded or self.slices > 1

    @property
    def options(self) -> list[str]:
        """Of ``isoflop train``, that ask for it."""
        apart = ["--agree-every", str(self.agree_every)] if self.agree_every else []
        slices = [OPTION, str(self.slices)] if self.slices > 1 else []
        return [*(["--sharded"] if self.sharded else []), *slices, *apart] or ["--no-sharded"]


TOGETHER = Layout()
"""Each holds all of the model, and gradients are averaged at every step."""


def asked_layout(sharded: bool | None, agree_every: int | None, slices: int) -> Layout | None:
    """Of the options of ``isoflop train``; None where nobody asked for any: it is the planned one then."""
    if sharded is None and agree_every is None and slices == 1:
        return None
    return Layout(bool(sharded), agree_every, slices)


def planned_layout(plan: Plan, *, size: int) -> Layout:
    """What ``size`` processes do where nobody asks for anything else."""
    return Layout(sharded=plan.sharded and size > 1)


def require_layout(plan: Plan, layout: Layout, *, size: int) -> None:
    """Raises `StudyError` where ``size`` processes cannot carry out the plan so.

    Dividing a run takes several, and training apart a rule whose weights are what it steps.
    """
    if layout.slices > 1:
        _require_slices(plan, layout, size=size)
    if size == 1 and layout.sharded:
        raise StudyError("one process has nobody to share with", where="--sharded", remedy="Add --ranks 2")
    if layout.sharded:
        require_even(ModelConfig(**plan.model), size)
    if layout.agree_every is None:
        return
    if size == 1:
        raise StudyError("one process has nobody to agree with", where="--agree-every", remedy="Add --ranks 2")
    if layout.sharded:
        what = "who trains apart needs all of the model"
        raise StudyError(what, where="--sharded", remedy="Leave out that or --agree-every")
    if plan.recipe.optimizer == "schedule-free":
        what = "schedule-free weights are averages of its own, which other processes do not share"
        raise StudyError(what, where="--agree-every", remedy="Leave that out, or plan with another --optimizer")


def _require_slices(plan: Plan, layout: Layout, *, size: int) -> None:
    if size == 1:
        raise StudyError("one process has nobody to compute with", where=OPTION, remedy=f"Add --ranks {layout.slices}")
    if size % layout.slices:
        what = f"{size} processes are no whole number of groups of {layout.slices}"
        raise StudyError(what, where=OPTION, remedy="Take a number that divides --ranks")
    if layout.sharded or layout.agree_every:
        other = "--sharded" if layout.sharded else "--agree-every"
        raise StudyError(f"slices and {other} are two ways to divide a model", where=OPTION, remedy="Take one of them")
    require_divisible(ModelConfig(**plan.model), layout.slices)
