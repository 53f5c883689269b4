"""Loss and bits per byte of a model on whole documents, each token predicted exactly once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from isoflop.core.products import Interval
from isoflop.model.transformer import Transformer, inference

RESAMPLES = 2_000
LEVEL = 0.9


@dataclass(frozen=True)
class Scores:
    """What every scored document costs; arrays [documents], in document order."""

    nats: np.ndarray
    """Sum of -ln p over the document's tokens, its end-of-text token included; float64."""
    num_tokens: np.ndarray
    num_bytes: np.ndarray
    """UTF-8 bytes, float64; of a document scored in part, that share of its bytes."""

    @property
    def loss(self) -> float:
        """Nats per token over all documents."""
        return float(self.nats.sum() / self.num_tokens.sum())


@dataclass(frozen=True)
class _Windows:
    """Pieces of documents; ``starts`` index the token stream, so window w predicts ids[start : start + length]."""

    documents: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    is_first: np.ndarray


def score_documents(
    model: Transformer,
    ids: np.ndarray,
    documents: np.ndarray,
    *,
    context: int,
    batch_tokens: int,
    dtype: torch.dtype,
    max_tokens: int | None = None,
) -> Scores:
    """Scores documents [n, 2] (tokens with end-of-text, bytes) that lie one after another in ``ids`` [tokens].

    A document starts fresh, with end-of-text as the first input, and is cut into consecutive windows of
    ``context`` tokens; a later window's first input is the last token before it. Tokens early in a window see
    little of the document, so the loss is an upper bound of what a sliding window would give. Weights are taken
    as ``dtype``, log-probabilities in float32; at most about ``batch_tokens`` tokens go through at once. With
    ``max_tokens``, only evenly spaced windows are, a fair sample of the whole; documents without one are left out.
    Deterministic; runs eagerly.
    """
    assert context <= model.config.max_position_embeddings
    assert documents[:, 0].sum() == len(ids) and documents[:, 0].min() > 0
    windows = _cut(documents[:, 0], context)
    if max_tokens is not None:
        windows = _thin(windows, max_tokens)
    chosen, rows = np.unique(windows.documents, return_inverse=True)
    num_tokens = np.bincount(rows, weights=windows.lengths).astype(np.int64)
    end_of_text = int(ids[documents[0, 0] - 1])
    weights = {name: parameter.detach().to(dtype) for name, parameter in model.named_parameters()}
    nats = np.zeros(len(chosen))
    with inference(model):
        for batch in _batches(windows.lengths, batch_tokens):
            inputs, targets = _gather(ids, windows, batch, end_of_text)
            logits = functional_call(model, weights, (inputs.to(model.cos.device),))
            np.add.at(nats, rows[batch], _row_nats(logits, targets))
    return Scores(nats, num_tokens, documents[chosen, 1] * (num_tokens / documents[chosen, 0]))


def scored_positions(documents: np.ndarray, *, context: int, max_tokens: int | None) -> tuple[np.ndarray, np.ndarray]:
    """What `score_documents` predicts with the same arguments: places in the token stream, and the window of each.

    Both int64 [tokens].
    """
    windows = _cut(documents[:, 0], context)
    if max_tokens is not None:
        windows = _thin(windows, max_tokens)
    ends = np.cumsum(windows.lengths)
    places = np.arange(ends[-1]) + np.repeat(windows.starts - (ends - windows.lengths), windows.lengths)
    return places, np.repeat(np.arange(len(ends)), windows.lengths)


def _cut(lengths: np.ndarray, context: int) -> _Windows:
    counts = -(-lengths // context)
    documents = np.repeat(np.arange(len(lengths)), counts)
    offsets = (np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)) * context
    return _Windows(
        documents=documents,
        starts=(np.cumsum(lengths) - lengths)[documents] + offsets,
        lengths=np.minimum(lengths[documents] - offsets, context),
        is_first=offsets == 0,
    )


def _thin(windows: _Windows, max_tokens: int) -> _Windows:
    """Every k-th window, k the least for which they hold at most ``max_tokens`` (one window at least)."""
    stride = max(1, math.ceil(windows.lengths.sum() / max_tokens))
    while stride < len(windows.lengths) and windows.lengths[::stride].sum() > max_tokens:
        stride += 1
    return _Windows(*(column[::stride] for column in dataclasses.astuple(windows)))


def _batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Windows of like length together, the longest first, so that few rows need padding."""
    order = np.argsort(-lengths, kind="stable")
    position = 0
    while position < len(order):
        rows = max(1, batch_tokens // int(lengths[order[position]]))
        yield order[position : position + rows]
        position += rows


def _gather(ids: np.ndarray, windows: _Windows, batch: np.ndarray, end_of_text: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets [rows, longest]; padding comes after the last token, so causality hides it, and is -100."""
    starts, lengths = windows.starts[batch], windows.lengths[batch]
    steps = np.arange(lengths.max())
    positions = np.minimum(starts[:, None] + steps, len(ids) - 1)
    inputs = ids[np.maximum(positions - 1, 0)].astype(np.int64)
    inputs[windows.is_first[batch], 0] = end_of_text
    targets = np.where(steps < lengths[:, None], ids[positions].astype(np.int64), -100)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def _row_nats(logits: Tensor, targets: Tensor) -> np.ndarray:
    """Sum of -ln p of each row's targets, in float64."""
    flat = logits.flatten(0, 1).float()
    nats = F.cross_entropy(flat, targets.flatten().to(flat.device), ignore_index=-100, reduction="none")
    return nats.view(targets.shape).double().sum(dim=1).cpu().numpy()


def bits_per_byte_of(scores: Scores) -> float:
    """sum(nats) / (ln 2 x sum(bytes)) over the scored documents."""
    return float(scores.nats.sum() / math.log(2) / scores.num_bytes.sum())


def bits_per_byte(scores: Scores, *, seed: int = 0) -> Interval:
    """sum(nats) / (ln 2 x sum(bytes)), with the 90 % percentile bootstrap over documents (Efron 1979).

    A resample draws as many documents as there are, with replacement, and takes the ratio of its sums. It shows
    how much the choice of test documents matters, not the training's randomness; one document has no spread.
    """
    generator = np.random.default_rng(seed)
    bits = scores.nats / math.log(2)
    ratios = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = generator.integers(len(bits), size=len(bits))
        ratios[i] = bits[drawn].sum() / scores.num_bytes[drawn].sum()
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(bits.sum() / scores.num_bytes.sum()), float(low), float(high), LEVEL)
