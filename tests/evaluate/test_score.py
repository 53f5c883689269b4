"""Every token predicted once, in the right context, whatever the batching."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.evaluate.score import Scores, bits_per_byte, score_documents, scored_positions
from isoflop.model.config import ModelConfig
from isoflop.model.transformer import Transformer, build_model

torch.set_num_threads(1)
CONTEXT = 8
END = 0


def tiny_model(**changes: Any) -> Transformer:
    config = ModelConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=32,
        max_position_embeddings=CONTEXT,
        dropout=0.5,
        **changes,
    )
    model = build_model(config, seed=0)
    torch.nn.init.normal_(model.lm_head.weight, generator=torch.Generator().manual_seed(1))
    return model


MODEL = tiny_model()


def some_documents(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Random tokens with END last in each document, and 3 bytes a token but the last."""
    ids = np.random.default_rng(0).integers(1, 30, size=sum(lengths)).astype(np.uint16)
    ids[np.cumsum(lengths) - 1] = END
    return ids, np.array([(n, 3 * (n - 1)) for n in lengths], dtype=np.int64)


@torch.inference_mode()
def token_by_token(ids: np.ndarray, start: int, count: int) -> float:
    """-ln p of a document's tokens, each window on its own, with nothing padded or batched."""
    total = 0.0
    stream = [END, *ids[start : start + count].tolist()]
    for first in range(0, count, CONTEXT):
        piece = stream[first : first + CONTEXT + 1]
        log_p = torch.log_softmax(MODEL(torch.tensor([piece[:-1]]))[0], dim=-1)
        total -= float(log_p[torch.arange(len(piece) - 1), torch.tensor(piece[1:])].sum())
    return total


def score(ids: np.ndarray, documents: np.ndarray, **options: Any) -> Scores:
    fixed: dict[str, Any] = {"context": CONTEXT, "batch_tokens": 32, "dtype": torch.float32}
    return score_documents(MODEL, ids, documents, **(fixed | options))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 100))
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_one_token_after_another(lengths: list[int], batch_tokens: int) -> None:
    ids, documents = some_documents(lengths)
    MODEL.eval()
    scores = score(ids, documents, batch_tokens=batch_tokens)
    starts = np.cumsum(lengths) - lengths
    expected = [token_by_token(ids, int(start), count) for start, count in zip(starts, lengths, strict=True)]
    np.testing.assert_allclose(scores.nats, expected, rtol=1e-4)
    assert scores.num_tokens.tolist() == lengths
    assert scores.num_bytes.tolist() == documents[:, 1].tolist()
    assert scores.loss == pytest.approx(sum(expected) / sum(lengths), rel=1e-4)


def test_a_model_that_knows_nothing_scores_ln_v() -> None:
    model = tiny_model()
    torch.nn.init.zeros_(model.lm_head.weight)
    ids, documents = some_documents([5, 11])
    scores = score_documents(model, ids, documents, context=4, batch_tokens=8, dtype=torch.float32)
    np.testing.assert_allclose(scores.nats, [5 * math.log(30), 11 * math.log(30)], rtol=1e-6)
    # bytes: (4 + 10) x 3 = 42
    assert bits_per_byte(scores).central == pytest.approx(16 * math.log2(30) / 42)


def test_documents_do_not_see_each_other() -> None:
    ids, documents = some_documents([6, 9])
    alone = score(ids[6:], documents[1:])
    assert score(ids, documents).nats[1] == pytest.approx(alone.nats[0], rel=1e-5)


def test_dropout_is_off_and_training_mode_comes_back() -> None:
    MODEL.train()
    ids, documents = some_documents([6, 9])
    assert np.array_equal(score(ids, documents).nats, score(ids, documents).nats)
    assert MODEL.training


@pytest.mark.parametrize("tied", [False, True])
def test_weights_are_taken_in_the_asked_type_and_left_alone(tied: bool) -> None:
    model = tiny_model(tie_word_embeddings=tied)
    ids, documents = some_documents([6, 20])
    options: dict[str, Any] = {"context": CONTEXT, "batch_tokens": 16, "dtype": torch.bfloat16}
    scores = score_documents(model, ids, documents, **options)
    assert model.lm_head.weight.dtype == torch.float32
    expected = score_documents(model.to(torch.bfloat16), ids, documents, **options)
    assert np.array_equal(scores.nats, expected.nats)


def test_evenly_spaced_windows_are_scored_within_a_limit() -> None:
    ids, documents = some_documents([4, 20, 30])  # windows of 8: 4 | 8 8 4 | 8 8 8 6
    scores = score(ids, documents, max_tokens=30)  # every second: 4, 8, 8, 8
    assert scores.num_tokens.tolist() == [4, 8, 16]
    np.testing.assert_allclose(scores.num_bytes, [9, 57 * 8 / 20, 87 * 16 / 30])
    whole = score(ids, documents)
    np.testing.assert_allclose(scores.nats[0], whole.nats[0], rtol=1e-5)


def test_documents_without_a_chosen_window_are_left_out() -> None:
    ids, documents = some_documents([8] * 9)
    scores = score(ids, documents, max_tokens=30)  # 72 tokens: every third window is a whole document
    whole = score(ids, documents)
    assert scores.num_tokens.tolist() == [8, 8, 8]
    np.testing.assert_allclose(scores.nats, whole.nats[[0, 3, 6]], rtol=1e-5)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(20, 500))
@settings(max_examples=40, deadline=None)
def test_a_limit_is_kept(lengths: list[int], max_tokens: int) -> None:
    scores = score(*some_documents(lengths), max_tokens=max_tokens)
    assert 0 < scores.num_tokens.sum() <= max_tokens


def test_bits_per_byte_is_the_ratio_of_sums_with_a_seeded_bootstrap() -> None:
    scores = Scores(np.array([2.0, 6.0]) * math.log(2), np.array([1, 3]), np.array([1.0, 1.0]))
    interval = bits_per_byte(scores)
    # resamples: (2, 2), (2, 6), (6, 2), (6, 6), a quarter each, so that 5 % and 95 % are the extremes
    assert (interval.central, interval.low, interval.high) == pytest.approx((4.0, 2.0, 6.0))
    assert interval == bits_per_byte(scores)
    assert interval.level == 0.9


def test_the_bootstrap_covers_as_the_normal_theory_says() -> None:
    nats = np.random.default_rng(0).normal(100, 20, size=400)
    interval = bits_per_byte(Scores(nats, np.full(400, 50), np.full(400, 100.0)))
    width = 2 * 1.645 * nats.std() / math.sqrt(400) / math.log(2) / 100
    assert interval.high - interval.low == pytest.approx(width, rel=0.1)


def test_one_document_has_no_spread() -> None:
    interval = bits_per_byte(Scores(np.array([7.0]), np.array([3]), np.array([10.0])))
    assert interval.low == interval.central == interval.high


def test_the_places_that_are_scored_by_hand() -> None:
    documents = np.array([[5, 10], [12, 20], [3, 6]])
    places, windows = scored_positions(documents, context=4, max_tokens=None)
    assert places.tolist() == list(range(20))
    assert np.bincount(windows).tolist() == [4, 1, 4, 4, 4, 3]  # no window crosses a document's end
    places, windows = scored_positions(documents, context=4, max_tokens=12)  # every second window
    assert places.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 16]
    assert np.bincount(windows).tolist() == [4, 4, 4]
