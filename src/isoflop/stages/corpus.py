"""Text to ``corpus/``."""

from __future__ import annotations

from pathlib import Path

from isoflop.core.session import Session
from isoflop.study import Study
from isoflop.text import prepare as text
from isoflop.text.demo import demo_files


def prepare(study: Study, session: Session) -> None:
    """Text to ``corpus/``."""
    inputs = [Path(name) for name in study.given.inputs] or demo_files()
    if not study.given.inputs:
        session.progress.note("no text given: using the demo corpus, the State of the Union addresses")
    with session.ledger.activity("prepare", "productive"):
        manifest = text.prepare(
            inputs,
            study.corpus,
            seed=study.given.seed,
            progress=lambda fraction, activity: session.progress.update(fraction, doing=activity),
        )
    study.decide("vocab_size", manifest.vocab_size, rule="by corpus bytes (text/tokenizer.py)")
    for warning in manifest.warnings:
        session.warn("prepare", warning)
