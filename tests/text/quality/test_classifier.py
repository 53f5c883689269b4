from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoflop.core.errors import CorruptFileError, TextError
from isoflop.text.quality.classifier import NUM_PLACES, Classifier, _area, _calibrated, features, load, save, train
from isoflop.text.texts import Texts
from toy import ENDINGS, OBJECTS, SUBJECTS, VERBS

NAVIGATION = (
    "click here",
    "read more",
    "log in",
    "home",
    "contact us",
    "next page",
    "share this",
    "all rights reserved",
    "sign up",
)


def prose(rng: np.random.Generator) -> bytes:
    lines = [" ".join(str(rng.choice(part)) for part in (SUBJECTS, VERBS, OBJECTS, ENDINGS)) + "." for _ in range(6)]
    return " ".join(lines).encode()


def noise(rng: np.random.Generator) -> bytes:
    """Links, with a sentence of prose in between."""
    return (" | ".join(rng.choice(NAVIGATION, 14)) + ". " + prose(rng).decode()[:60]).encode()


def examples(count: int, seed: int) -> tuple[list[bytes], list[bytes]]:
    rng = np.random.default_rng(seed)
    return [prose(rng) for _ in range(count)], [noise(rng) for _ in range(count)]


def test_a_handful_of_examples_tells_unseen_documents_apart() -> None:
    classifier = train(*examples(12, seed=0))
    good, bad = examples(200, seed=1)
    likely = classifier.probabilities(Texts.of([*good, *bad]))
    assert ((likely > 0.5) == ([True] * 200 + [False] * 200)).mean() > 0.98
    assert classifier.accuracy > 0.9 and classifier.area > 0.95


def test_probabilities_are_calibrated_where_labels_are_uncertain() -> None:
    """Three in ten labels are wrong: what is called .7 is right seven times in ten."""
    good, bad = examples(300, seed=2)
    rng = np.random.default_rng(3)
    wrong = rng.random(600) < 0.3
    documents = [*good, *bad]
    labelled = [(i < 300) != wrong[i] for i in range(600)]
    classifier = train([d for d, label in zip(documents, labelled, strict=True) if label],
                       [d for d, label in zip(documents, labelled, strict=True) if not label])  # fmt: skip
    likely = classifier.probabilities(Texts.of(examples(300, seed=4)[0]))
    assert 0.55 < likely.mean() < 0.85


def test_the_same_examples_give_the_same_judge() -> None:
    one, two = train(*examples(8, seed=5)), train(*examples(8, seed=5))
    np.testing.assert_array_equal(one.weights, two.weights)


def test_features_are_distinct_words_and_pairs() -> None:
    found = features(Texts.of([b"a b", b"A, B!", b"b a", b"", b"a a a"]))
    assert np.diff(found.bounds).tolist() == [3, 3, 3, 0, 2]
    assert found.of(np.array([0])).places.tolist() == found.of(np.array([1])).places.tolist()
    assert found.places.min() >= 0 and found.places.max() < NUM_PLACES
    weights = np.zeros(NUM_PLACES)
    weights[found.places[:3]] = 3.0
    assert found.score(weights)[:2].tolist() == pytest.approx([9 / np.sqrt(3)] * 2)
    assert found.score(weights)[3] == 0


def test_area_is_the_share_of_pairs_in_order() -> None:
    assert _area(np.array([1.0, 2.0, 0.0, 2.0]), np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx((1 + 0 + 1 + 0.5) / 4)


def test_calibration_finds_a_known_curve() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(1.5 * scores - 0.5)))).astype(float)
    assert _calibrated(scores, labels) == pytest.approx((1.5, -0.5), abs=0.06)


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(TextError, match=r"4 bad examples. Give at least 5"):
        train([b"x"] * 5, [b"y"] * 4)


def test_a_judge_is_read_as_written_and_damage_is_found(tmp_path: Path) -> None:
    classifier = train(*examples(8, seed=6))
    path = tmp_path / "judge.safetensors"
    save(path, classifier)
    again: Classifier = load(path)
    texts = Texts.of(examples(5, seed=7)[0])
    np.testing.assert_allclose(again.probabilities(texts), classifier.probabilities(texts), atol=1e-5)
    assert again.num_examples == 16
    data = bytearray(path.read_bytes())
    data[-9] ^= 2
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match="not a judge as it was written"):
        load(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(CorruptFileError, match="not a judge"):
        load(path)
    with pytest.raises(TextError, match="no such file"):
        load(tmp_path / "nowhere")
