from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.train.batches import Batches

TOKENS = np.arange(1000, dtype=np.uint16)


def batches(
    sequences: int = 4, *, shards: list[np.ndarray] | None = None, unique: int = 1000, seed: int = 5
) -> Batches:
    return Batches(shards or [TOKENS], context=16, sequences=sequences, unique_tokens=unique, seed=seed)


def windows(stream: Batches, start: int, count: int) -> list[int]:
    """First tokens of ``count`` windows; the tokens count up, so they say where a window begins."""
    blocks = [stream(start + i)[0] for i in range(0, count, stream.sequences)]
    return torch.cat(blocks)[:count, 0].tolist()


def test_targets_follow_inputs() -> None:
    inputs, targets = batches()(7)
    assert inputs.shape == targets.shape == (4, 16)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs + 1, targets)
    assert torch.equal(inputs - inputs[:, :1], torch.arange(16).expand(4, 16))


@settings(max_examples=30)
@given(st.integers(0, 4), st.integers(0, 2**32), st.integers(34, 1000))
def test_every_window_of_an_epoch_comes_once_and_stays_inside(epoch: int, seed: int, unique: int) -> None:
    stream = batches(1, unique=unique, seed=seed)
    size = stream.windows_per_epoch
    starts = windows(stream, epoch * size, size)
    assert set(Counter(starts).values()) == {1}
    assert np.unique(np.array(starts) % 16).size == 1
    assert max(starts) + 16 < unique
    assert sorted(starts) == list(range(min(starts), max(starts) + 1, 16))


def test_epochs_differ_in_order_and_offset() -> None:
    stream = batches(1)
    size = stream.windows_per_epoch
    epochs = [windows(stream, epoch * size, size) for epoch in range(6)]
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) == 6
    assert len({epoch[0] % 16 for epoch in epochs}) > 1


@pytest.mark.parametrize("sequences", [2, 3, 8])
def test_the_stream_is_the_same_for_every_batch_size(sequences: int) -> None:
    assert windows(batches(sequences), 0, 240) == windows(batches(1), 0, 240)


def test_any_place_can_be_visited_in_any_order() -> None:
    one = batches(4)
    forwards = {start: one(start)[0] for start in range(0, 400, 4)}
    other = batches(4)
    for start in (396, 0, 200, 60, 64):
        assert torch.equal(other(start)[0], forwards[start])


def test_shards_are_joined_and_cut() -> None:
    parts = batches(4, shards=[TOKENS[:300], TOKENS[300:450], TOKENS[450:]], unique=500)
    whole = batches(4, unique=500)
    assert torch.equal(parts(9)[1], whole(9)[1])
    assert len(whole.tokens) == 500


def test_seeds_differ() -> None:
    assert windows(batches(1, seed=1), 0, 40) != windows(batches(1, seed=2), 0, 40)


def test_shards_give_the_same_batches_as_one_array_and_are_not_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(np, "concatenate", None)
        parts = batches(4, shards=[TOKENS[:7], TOKENS[7:300], TOKENS[300:310], TOKENS[310:]], unique=990)
    whole = batches(4, unique=990)
    assert parts.windows_per_epoch == whole.windows_per_epoch
    for window in range(0, 3 * whole.windows_per_epoch, 4):
        for mine, theirs in zip(parts(window), whole(window), strict=True):
            assert torch.equal(mine, theirs)
