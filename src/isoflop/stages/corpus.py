"""Text to ``corpus/``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from isoflop.core.budget import Budget, format_seconds
from isoflop.core.errors import BudgetError
from isoflop.core.session import Session
from isoflop.plan.vocabulary import Choice, choose
from isoflop.stages.machine import expected_flops
from isoflop.study import Given, Study
from isoflop.text import prepare as text
from isoflop.text.demo import demo_files
from isoflop.text.tokenizer import read_tokenizer
from isoflop.text.vocabulary import Cut


def prepare(study: Study, session: Session) -> None:
    """Text to ``corpus/``."""
    inputs = study.given.inputs or demo_files()
    if not study.given.inputs:
        session.progress.note("no text given: using the demo corpus, the State of the Union addresses")
    with session.ledger.activity("prepare", "productive"):
        tokenizer, rule = _tokenizer(study)
        chosen: list[Choice] = []
        manifest = text.prepare(
            inputs,
            study.corpus,
            seed=study.given.seed,
            choose=partial(_chosen, study.given, chosen),
            tokenizer=tokenizer,
            progress=partial(_told, session, Budget.parse(study.given.budget), session.seconds_left()),
        )
    study.decide("vocab_size", manifest.vocab_size, rule=chosen[0].rule if chosen else rule)
    for warning in manifest.warnings:
        session.warn("prepare", warning)


def _tokenizer(study: Study) -> tuple[Tokenizer | None, str]:
    """What is to be used, and why; None: one trained on the text."""
    given, inputs = study.given.tokenizer, [Path(name) for name in study.given.inputs]
    if given is not None:
        return read_tokenizer(Path(given)), f"that of {given}"
    if len(inputs) == 1 and (inputs[0] / text.MANIFEST).is_file():
        return text.open_tokenizer(inputs[0], text.load(inputs[0])), "that of the prepared text"
    return None, "by corpus bytes (text/tokenizer.py)"


def _chosen(given: Given, chosen: list[Choice], cuts: Sequence[Cut], num_bytes: int) -> int:
    """The vocabulary for the budget, which is kept in ``chosen``."""
    flops = expected_flops(
        given.budget, price_per_hour=given.price_per_hour, grams_co2e_per_kwh=given.grams_co2e_per_kwh
    )
    chosen.append(choose(cuts, flops=flops, num_bytes=num_bytes))
    return chosen[0].vocab_size


def _told(session: Session, budget: Budget, at_start: float, fraction: float, activity: str) -> None:
    """Shows progress; `BudgetError` as soon as the text alone has taken half the budget."""
    session.progress.update(fraction, doing=activity)
    spent = budget.amount - session.seconds_left()
    if budget.unit == "s" and spent > 0.5 * budget.amount:
        works = format_seconds(3 * max(at_start - session.seconds_left(), 1.0) / max(fraction, 0.01))
        raise BudgetError(
            f"preparing the text took {format_seconds(spent)}, half of the budget, and is {fraction:.0%} done",
            remedy=f"The smallest budget that works for this text is about {works}; or give less text",
        )
