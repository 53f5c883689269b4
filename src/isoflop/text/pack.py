"""From documents to checksummed shards of token ids, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from isoflop.core.files import verify_once, write_array
from isoflop.core.products import Shard, Split
from isoflop.text.read import Document
from isoflop.text.tokenizer import encode_all

SHARD_TOKENS = 1 << 26
"""A shard ends with the first document that takes it to this many tokens (128 MB)."""
_BATCH_BYTES = 2_000_000


def write_split(
    out: Path,
    name: str,
    documents: list[Document],
    tokenizer: Tokenizer,
    *,
    progress: Callable[[int], None] = lambda num_bytes: None,
) -> Split:
    """Encodes ``documents`` and writes ``<name>-00000.npy``.. (uint16) and ``<name>-documents.npy`` (int64) to ``out``.

    ``val`` and ``test`` are one file each, ``val.npy`` and ``test.npy``. ``progress`` is told the bytes encoded so far.
    """
    shards: list[Shard] = []
    lengths: list[tuple[int, int]] = []
    pending: list[np.ndarray] = []
    num_pending = num_encoded = 0
    for batch in _batches(documents):
        encoded = encode_all(tokenizer, batch)
        for document, ids in zip(batch, encoded, strict=True):
            pending.append(ids)
            num_pending += len(ids)
            num_encoded += len(document.data)
            lengths.append((len(ids), len(document.data)))
            if name == "train" and num_pending >= SHARD_TOKENS:
                shards.append(_write_shard(out, f"train-{len(shards):05d}.npy", pending))
                pending, num_pending = [], 0
        progress(num_encoded)
    if pending:
        shards.append(_write_shard(out, f"train-{len(shards):05d}.npy" if name == "train" else f"{name}.npy", pending))
    table = np.array(lengths, dtype=np.int64).reshape(-1, 2)
    num_tokens, num_bytes = (int(total) for total in table.sum(axis=0))
    file = f"{name}-documents.npy"
    return Split(len(documents), num_bytes, num_tokens, shards, Shard(file, write_array(out / file, table), num_tokens))


def open_split(out: Path, split: Split) -> list[np.ndarray]:
    """The memory-mapped uint16 shards of ``split`` in ``out``; `CorruptFileError` where a checksum differs."""
    return [_open(out / shard.file, shard.sha256) for shard in split.shards]


def open_documents(out: Path, split: Split) -> np.ndarray:
    """int64 [num_documents, 2]: tokens (with end-of-text) and bytes of each document, in shard order."""
    return _open(out / split.documents.file, split.documents.sha256)


def _open(path: Path, sha256: str) -> np.ndarray:
    verify_once(path, sha256)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _write_shard(out: Path, file: str, pending: list[np.ndarray]) -> Shard:
    ids = np.concatenate(pending)
    return Shard(file, write_array(out / file, ids), len(ids))


def _batches(documents: list[Document]) -> Iterator[list[Document]]:
    """Consecutive documents of about 2 MB together: enough for all threads, little beside the corpus."""
    batch: list[Document] = []
    num_bytes = 0
    for document in documents:
        batch.append(document)
        num_bytes += len(document.data)
        if num_bytes >= _BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch
