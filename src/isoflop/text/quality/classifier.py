"""A judge of quality that learns from a handful of good and bad examples: hashed words and pairs, linear, calibrated.

A document is the set of its folded words and pairs of neighbours, hashed to 2^18 places (Weinberger et al. 2009, arXiv
0902.2206) and scaled to length 1. Logistic regression with an L2 penalty, by gradient steps with momentum. Scores
become probabilities by a second logistic fit, on scores of examples that were left out (Platt 1999), so that 0.5 means
as likely good as bad among texts like the examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoflop.core.errors import CorruptFileError, TextError
from isoflop.core.files import write_bytes
from isoflop.text.characters import compiled, folded
from isoflop.text.dedup.minhash import fold_words
from isoflop.text.hashing import Hashes, mixed
from isoflop.text.texts import Texts

_FORMAT = "isoflop judge 1"
NUM_PLACES = 1 << 18
MIN_EXAMPLES = 5
"""Of each kind."""
_PENALTY = 1e-3
_NUM_STEPS, _RATE, _MOMENTUM = 300, 4.0, 0.9
_NUM_FOLDS = 5
"""Parts of the examples, each scored by a fit without it."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """The places of several documents, one document behind the other."""

    places: NDArray[np.int32]
    bounds: NDArray[np.int64]
    """[documents + 1]"""

    def score(self, weights: Vector) -> Vector:
        """[documents]: the weights of a document's places over the square root of their number."""
        sums = np.add.reduceat(np.append(weights[self.places], 0.0), self.bounds[:-1]) if len(self) else np.zeros(0)
        counts = np.diff(self.bounds)
        return np.where(counts > 0, sums / np.sqrt(np.maximum(counts, 1)), 0.0)

    def gradient(self, errors: Vector) -> Vector:
        """[places]: the sum of ``errors`` [documents] times the documents."""
        counts = np.diff(self.bounds)
        each = np.repeat(errors / np.sqrt(np.maximum(counts, 1)), counts)
        summed: Vector = np.bincount(self.places, weights=each, minlength=NUM_PLACES).astype(np.float64)
        return summed

    def of(self, documents: NDArray[np.int64]) -> Features:
        parts = [self.places[self.bounds[d] : self.bounds[d + 1]] for d in documents]
        bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        return Features(np.concatenate([*parts, np.zeros(0, np.int32)]), bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1


@dataclass(frozen=True)
class Classifier:
    """Probabilities that documents are good."""

    weights: Vector
    """[places + 1]: the last is the constant."""
    slope: float
    intercept: float
    """Of the calibration."""
    accuracy: float
    """On examples that were left out, and"""
    area: float
    """under the curve of right over wrong positives, on the same."""
    num_examples: int

    def probabilities(self, texts: Texts) -> Vector:
        """[documents]: 0 to 1."""
        scores = features(texts).score(self.weights[:-1]) + self.weights[-1]
        return _logistic(self.slope * scores + self.intercept)


def features(texts: Texts) -> Features:
    """The distinct hashed words and pairs of every document."""
    room = texts.longest // 2 + 2
    words = np.empty(room, dtype=np.uint64)
    places, bounds = [np.zeros(0, dtype=np.int32)], [0]
    for start, end in zip(texts.offsets[:-1].tolist(), texts.offsets[1:].tolist(), strict=True):
        count = fold_words(texts.data, start, end, folded(), words)
        found = np.empty(2 * count, dtype=np.int32)
        places.append(np.unique(found[: _fill(words, count, found)]))
        bounds.append(bounds[-1] + len(places[-1]))
    return Features(np.concatenate(places), np.array(bounds, dtype=np.int64))


@compiled
def _fill(words: Hashes, count: int, found: NDArray[np.int32]) -> int:
    """Fills the places of words and of pairs of neighbours; returns how many."""
    n = 0
    for i in range(count):
        found[n] = np.int32(mixed(words[i]) & np.uint64(NUM_PLACES - 1))
        n += 1
        if i:
            pair = mixed(words[i - 1] * np.uint64(3) + words[i])
            found[n] = np.int32(pair & np.uint64(NUM_PLACES - 1))
            n += 1
    return n


def train(good: Sequence[bytes], bad: Sequence[bytes], *, seed: int = 0) -> Classifier:
    """Learns from documents (UTF-8). Raises `TextError` for fewer than five of a kind."""
    for name, examples in (("good", good), ("bad", bad)):
        if len(examples) < MIN_EXAMPLES:
            what = f"{len(examples)} {name} examples"
            raise TextError(what, remedy=f"Give at least {MIN_EXAMPLES} documents of each kind")
    labels = np.concatenate([np.ones(len(good)), np.zeros(len(bad))])
    all_features = features(Texts.of([*good, *bad]))
    left_out = _left_out(all_features, labels, seed)
    slope, intercept = _calibrated(left_out, labels)
    accuracy = float(((slope * left_out + intercept > 0) == (labels > 0.5)).mean())
    weights = _fitted(all_features, labels)
    return Classifier(weights, slope, intercept, accuracy, _area(left_out, labels), len(labels))


def _left_out(all_features: Features, labels: Vector, seed: int) -> Vector:
    """[documents]: the score of each by a fit without its fold."""
    folds = np.random.default_rng(seed).permutation(len(labels)) % _NUM_FOLDS
    scores = np.zeros(len(labels))
    for fold in range(_NUM_FOLDS):
        kept, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        weights = _fitted(all_features.of(kept), labels[kept])
        scores[out] = all_features.of(out).score(weights[:-1]) + weights[-1]
    return scores


def _fitted(all_features: Features, labels: Vector) -> Vector:
    """[places + 1]: L2-penalised logistic regression, both kinds weighing the same."""
    importance = np.where(labels > 0.5, 0.5 / max(labels.sum(), 1), 0.5 / max((1 - labels).sum(), 1))
    weights, velocity = np.zeros(NUM_PLACES + 1), np.zeros(NUM_PLACES + 1)
    for _ in range(_NUM_STEPS):
        scores = all_features.score(weights[:-1]) + weights[-1]
        errors = importance * (_logistic(scores) - labels)
        gradient = np.append(all_features.gradient(errors) + _PENALTY * weights[:-1], errors.sum())
        velocity = _MOMENTUM * velocity - _RATE * gradient
        weights = weights + velocity
    return weights


def _calibrated(scores: Vector, labels: Vector) -> tuple[float, float]:
    """Slope and intercept of a logistic curve from scores to labels, by Newton's method on smoothed targets (Platt)."""
    ups, downs = labels.sum(), (1 - labels).sum()
    targets = np.where(labels > 0.5, (ups + 1) / (ups + 2), 1 / (downs + 2))
    design = np.column_stack([scores, np.ones_like(scores)])
    found = np.zeros(2)
    for _ in range(50):
        p = _logistic(design @ found)
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (p - targets))
        found = found - np.clip(step, -5, 5)
    return float(found[0]), float(found[1])


def _area(scores: Vector, labels: Vector) -> float:
    """The probability that a good one scores above a bad one, ties by half (Mann & Whitney 1947)."""
    good, bad = scores[labels > 0.5], scores[labels < 0.5]
    above = (good[:, None] > bad[None, :]).mean() + 0.5 * (good[:, None] == bad[None, :]).mean()
    return float(above)


def _logistic(x: Vector) -> Vector:
    return 0.5 * (1 + np.tanh(0.5 * x))


def save(path: Path, classifier: Classifier) -> str:
    """Writes it as safetensors, with its checksum; returns that."""
    from safetensors.numpy import save as serialized

    tensors = {
        "weights": classifier.weights.astype(np.float32),
        "calibration": np.array([classifier.slope, classifier.intercept]),
        "measured": np.array([classifier.accuracy, classifier.area, classifier.num_examples]),
    }
    sha256 = _sha256(tensors)
    write_bytes(path, serialized(tensors, metadata={"format": _FORMAT, "sha256": sha256}))
    return sha256


def load(path: Path) -> Classifier:
    """Raises `TextError` where there is none, `CorruptFileError` where it is another file or not as it was."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise TextError("no such file", where=str(path), remedy="Make one: isoflop judge GOOD BAD --out FILE")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(f"not a judge ({error})", where=str(path), remedy="Make it again") from error
    if metadata.get("format") != _FORMAT or metadata.get("sha256") != _sha256(tensors):
        raise CorruptFileError("not a judge as it was written", where=str(path), remedy="Make it again")
    slope, intercept = tensors["calibration"].tolist()
    accuracy, area, count = tensors["measured"].tolist()
    return Classifier(tensors["weights"].astype(np.float64), slope, intercept, accuracy, area, int(count))


def _sha256(tensors: dict[str, NDArray[np.floating]]) -> str:
    return hashlib.sha256(b"".join(tensors[name].tobytes() for name in sorted(tensors))).hexdigest()
