"""The pilots' points to law.json."""

from __future__ import annotations

import math

import numpy as np

from isoflop.core.products import LawPoint, StudyWarning
from isoflop.core.records import PilotFinished, read_records
from isoflop.core.session import Session
from isoflop.law.fit import fit
from isoflop.law.prior import Prior
from isoflop.study import Study
from isoflop.text import prepare as text
from isoflop.text.overlap import NGRAM_TOKENS, ngram_overlap

DEFAULT_NOISE_NATS = 0.012
"""Seed noise of a pilot's loss where no seed was repeated (0.01-0.03 measured, docs/log.md)."""
MUCH_OVERLAP = 0.08


def fit_law(study: Study, session: Session) -> None:
    """The pilots' points to law.json."""
    with session.ledger.activity("law", "productive"):
        finished = [s.record for s in read_records(study.records) if isinstance(s.record, PilotFinished)]
        noise = _seed_noise(finished)
        points = [
            LawPoint(p.run, p.num_parameters, p.tokens, p.unique_tokens, p.flops, p.loss, noise)
            for p in finished
            if p.purpose in ("grid", "recentre")
        ]
        overlap = heldout_overlap(study)
        law = fit(points, prior=Prior.measured(unigram_nats(study), overlap=overlap), seed=study.given.seed)
    study.decide("heldout_overlap", overlap, rule=f"share of validation {NGRAM_TOKENS}-grams that stand in training")
    study.write("law.json", law.report())
    for warning in [*law.report().warnings, *_overlap_warnings(overlap), *_rate_warnings(finished)]:
        session.warn("law", warning)


def unigram_nats(study: Study) -> float:
    """Entropy of the training tokens' frequencies, nats per token."""
    ids = text.open_split(study.corpus, study.manifest.train)[0]
    counts = np.bincount(ids, minlength=study.manifest.vocab_size).astype(float)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def heldout_overlap(study: Study) -> float:
    """Share of the validation documents' n-grams that occur in the training text."""
    manifest = study.manifest
    train, val = (text.open_split(study.corpus, split) for split in (manifest.train, manifest.val))
    return ngram_overlap(train, val[0])


def _overlap_warnings(overlap: float) -> list[StudyWarning]:
    if overlap < MUCH_OVERLAP:
        return []
    message = (
        f"{overlap:.0%} of the validation text's {NGRAM_TOKENS}-token pieces stand in the training text too: scores "
        "flatter the model, and forecasts err on the high side, as copying is learnt late"
    )
    return [StudyWarning("heldout_overlaps_train", message)]


def _seed_noise(finished: list[PilotFinished]) -> float:
    """Root-mean-square difference of repeated seeds over sqrt 2, nats; the default where no seed was repeated."""
    differences = [
        a.loss - b.loss
        for a in finished
        for b in finished
        if a.purpose == "seed" and b.purpose == "grid" and a.hidden_size == b.hidden_size and a.tokens == b.tokens
    ]
    if not differences:
        return DEFAULT_NOISE_NATS
    measured = math.sqrt(sum(d * d for d in differences) / len(differences) / 2)
    return max(measured, DEFAULT_NOISE_NATS / 2)  # few differences: do not believe in none


def _rate_warnings(finished: list[PilotFinished]) -> list[StudyWarning]:
    """Whether half or twice the rule's learning rate was clearly better on the rung that tried them."""
    warnings = []
    for trial in (p for p in finished if p.purpose == "rate"):
        base = [p for p in finished if p.purpose == "grid" and p.hidden_size == trial.hidden_size]
        nearest = min(base, key=lambda p: abs(math.log(p.tokens / trial.tokens)), default=None)
        if nearest is None or abs(math.log(nearest.tokens / trial.tokens)) > 0.2:
            continue
        gain = nearest.loss - trial.loss
        if gain > 2 * DEFAULT_NOISE_NATS:
            factor = trial.learning_rate / nearest.learning_rate
            message = (
                f"{factor:.2g} times the rule's learning rate is {gain:.3f} nats better at width {trial.hidden_size}"
            )
            warnings.append(StudyWarning("learning_rate_off", message))
    return warnings
