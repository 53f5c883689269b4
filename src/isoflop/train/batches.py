"""Batches as a pure function of (seed, step): resuming needs no iterator state, and runs of different size
see the same text in the same order (common random numbers, docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Batches:
    """Cuts the first ``unique_tokens`` of the training stream into windows and shuffles them anew each epoch.

    Epoch e starts its windows at a random offset, so repeated text is never cut at the same places. The order
    depends on (seed, e) alone: a batch is the next ``sequences`` windows of an endless stream.
    """

    def __init__(
        self, shards: Sequence[np.ndarray], *, context: int, sequences: int, unique_tokens: int, seed: int
    ) -> None:
        self.tokens = shards[0][:unique_tokens] if len(shards) == 1 else _Joined(shards, unique_tokens)
        self.context, self.sequences, self.seed = context, sequences, seed
        self.windows_per_epoch = (len(self.tokens) - context - 1) // context
        assert self.windows_per_epoch > 0, "fewer training tokens than one window"
        self._epoch = -1
        self._starts = np.empty(0, dtype=np.int64)

    def __call__(self, window: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the batch that begins at ``window`` of the stream, both int64 [sequences, context]."""
        starts = np.array([self._start(window + i) for i in range(self.sequences)])
        rows = self.tokens[starts[:, None] + np.arange(self.context + 1)].astype(np.int64)
        block = torch.from_numpy(rows)
        return block[:, :-1].contiguous(), block[:, 1:].contiguous()

    def _start(self, position: int) -> int:
        epoch, index = divmod(position, self.windows_per_epoch)
        if epoch != self._epoch:
            generator = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            offset = generator.integers(self.context)
            self._starts = generator.permutation(self.windows_per_epoch) * self.context + offset
            self._epoch = epoch
        return int(self._starts[index])


class _Joined:
    """The first ``count`` tokens of several shards as one array, all of them left memory-mapped."""

    def __init__(self, shards: Sequence[np.ndarray], count: int) -> None:
        self.shards = shards
        self.ends = np.cumsum([len(shard) for shard in shards])
        self.count = min(count, int(self.ends[-1]))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        tokens = np.empty(positions.shape, dtype=self.shards[0].dtype)
        for shard, end in zip(self.shards, self.ends, strict=True):
            start = end - len(shard)
            inside = (start <= positions) & (positions < end)
            tokens[inside] = shard[positions[inside] - start]
        return tokens
