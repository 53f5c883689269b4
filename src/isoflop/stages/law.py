"""The pilots' points to law.json."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isoflop.core.journal import read_records
from isoflop.core.products import LawPoint, Split, StudyWarning
from isoflop.core.records import PilotFinished
from isoflop.core.session import Session
from isoflop.evaluate.score import scored_positions
from isoflop.evaluate.yardsticks import token_counts
from isoflop.law.pilots import fit_pilots
from isoflop.law.predict import Law
from isoflop.law.prior import Prior, Ratio, rises
from isoflop.stages.setting import context_of, num_val_tokens
from isoflop.study import Study
from isoflop.text import prepare as text
from isoflop.text.ngrams import copy_gain, sample_blocks, trigram_nats
from isoflop.text.overlap import NGRAM_TOKENS, ngram_overlap
from isoflop.text.vocabulary import entropy_of

DEFAULT_NOISE_NATS = 0.012
"""Seed noise of a pilot's loss where no seed was repeated (0.01-0.03 measured, docs/log.md)."""
MUCH_OVERLAP = 0.08
COUNTED_TOKENS = (250_000, 4_000_000)
"""Of the two trigram models of the training text; that of the larger is also compared on validation and test."""
COUNTED_PER_SECOND = 13_000
"""Limits the larger by the budget: counting then takes about 1 % of it."""
TEST_TOKENS_PER_SECOND = 1_000


def fit_law(study: Study, session: Session) -> None:
    """The pilots' points to law.json."""
    with session.ledger.activity("law", "productive"):
        finished = finished_pilots(study)
        counted = count_trigrams(study)
        law = law_of(study, finished, drop=counted.drop)
    study.decide("heldout_ratio", counted.heldout_ratio, rule="test over validation bits per byte of a trigram model")
    study.decide("copy_gain", counted.copy_gain, rule="share of its loss that copying within the context saves")
    if drop := counted.drop:
        few, many = (tokens for _, tokens in drop.places)
        rule = f"trigram models' losses at {few:,.0f} and {many:,.0f} tokens (law/prior.py)"
        study.decide("expected_drop", drop.log_ratio, rule=rule)
    study.write("law.json", law.report())
    for warning in [*law.report().warnings, *_overlap_warnings(counted.overlap), *_rate_warnings(finished)]:
        session.warn("law", warning)


def finished_pilots(study: Study) -> list[PilotFinished]:
    """The pilots' points on record."""
    return [s.record for s in read_records(study.records) if isinstance(s.record, PilotFinished)]


def law_of(study: Study, finished: list[PilotFinished], *, drop: Ratio | None = None) -> Law:
    """The law of the sizes among the finished pilots, in whatever order those came, under what is known beforehand."""
    noise = _seed_noise(finished)
    points = [
        LawPoint(p.run, p.num_parameters, p.tokens, p.unique_tokens, p.flops, p.loss, noise)
        for p in sorted(finished, key=lambda p: (p.run, p.tokens))
        if p.purpose in ("grid", "next")
    ]
    rival = Prior.any_text(min(point.loss for point in points))
    return fit_pilots(points, prior=prior_of(study, drop), rival=rival, seed=study.given.seed)


def prior_of(study: Study, drop: Ratio | None) -> Prior:
    """By the study's text in the tokens of its vocabulary."""
    return Prior.measured(unigram_nats(study), drop=drop, rises=rises(study.manifest.vocab_size))


@dataclass(frozen=True)
class Counted:
    """What counting n-grams tells beforehand of training on a text."""

    drop: Ratio | None
    """How the loss falls with tokens; None where there are too few to count."""
    heldout_ratio: float
    """Test over validation bits per byte. No test document has a say in what is trained."""
    copy_gain: float
    overlap: float
    """Share of the validation documents' n-grams that occur in the training text."""


def count_trigrams(study: Study) -> Counted:
    """Counts on what the pilots are scored on, so that the ratio leads from their losses to all test documents."""
    manifest, context = study.manifest, context_of(study)
    val_tokens, test_tokens = num_val_tokens(study), int(TEST_TOKENS_PER_SECOND * study.budget_seconds)
    train = [
        sample_blocks(
            text.open_split(study.corpus, manifest.train), min(count, int(COUNTED_PER_SECOND * study.budget_seconds))
        )
        for count in COUNTED_TOKENS
    ]
    val, val_positions, windows = _scored(study, manifest.val, context=context, max_tokens=val_tokens)
    test, test_positions, _ = _scored(study, manifest.test, context=context, max_tokens=test_tokens)
    vocab_size = manifest.vocab_size
    few, many = (trigram_nats(ids, val, val_positions, vocab_size=vocab_size) for ids in train)
    on_test = trigram_nats(train[1], test, test_positions, vocab_size=vocab_size)
    density = [split.num_tokens / split.num_bytes for split in (manifest.test, manifest.val)]
    lengths, nats = (len(train[0]), len(train[1])), (float(few.mean()), float(many.mean()))
    overlap = heldout_overlap(study)
    return Counted(
        drop=Ratio.of_trigrams(lengths, nats, overlap, vocab_size) if lengths[1] >= 2 * lengths[0] else None,
        heldout_ratio=float(on_test.mean() / many.mean() * density[0] / density[1]),
        copy_gain=copy_gain(val, val_positions, windows, many, vocab_size=vocab_size),
        overlap=overlap,
    )


def _scored(study: Study, split: Split, *, context: int, max_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The split's tokens; places and windows of those that a model scored with ``max_tokens`` predicts."""
    documents = text.open_documents(study.corpus, split)
    places, windows = scored_positions(documents, context=context, max_tokens=max_tokens)
    return text.open_split(study.corpus, split)[0], places, windows


def unigram_nats(study: Study) -> float:
    """Entropy of the training tokens' frequencies, nats per token."""
    shards = text.open_split(study.corpus, study.manifest.train)
    return entropy_of(token_counts(shards, study.manifest.vocab_size))


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
        "flatter the model"
    )
    return [StudyWarning("heldout_overlaps_train", message)]


def _seed_noise(finished: list[PilotFinished]) -> float:
    """Root-mean-square difference of repeated seeds over sqrt 2, nats; the default where no seed was repeated."""
    differences = [a.loss - b.loss for a, b in _beside_grid(finished, "seed")]
    if not differences:
        return DEFAULT_NOISE_NATS
    measured = math.sqrt(sum(d * d for d in differences) / len(differences) / 2)
    return max(measured, DEFAULT_NOISE_NATS / 2)  # few differences: do not believe in none


def _rate_warnings(finished: list[PilotFinished]) -> list[StudyWarning]:
    """Whether half or twice the rule's learning rate was clearly better on the rung that tried them."""
    warnings = []
    for trial, base in _beside_grid(finished, "rate"):
        gain = base.loss - trial.loss
        if gain > 2 * DEFAULT_NOISE_NATS:
            factor = trial.learning_rate / base.learning_rate
            message = (
                f"{factor:.2g} times the rule's learning rate is {gain:.3f} nats better at width {trial.hidden_size}"
            )
            warnings.append(StudyWarning("learning_rate_off", message))
    return warnings


def _beside_grid(finished: list[PilotFinished], purpose: str) -> list[tuple[PilotFinished, PilotFinished]]:
    """Each point of a ``purpose`` with the grid's point of the same shape, tokens and batch, where there is one."""

    def setup(point: PilotFinished) -> tuple[int, int, int, int]:
        return point.hidden_size, point.num_layers, point.tokens, point.batch_tokens

    grid = {setup(point): point for point in finished if point.purpose == "grid"}
    return [(p, grid[setup(p)]) for p in finished if p.purpose == purpose and setup(p) in grid]
