"""From documents to checksummed shards of token ids, and back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from isoflop.core.errors import CorruptFileError
from isoflop.core.executor import Executor
from isoflop.core.files import disk_errors, verify_once, write_array, write_arrays
from isoflop.core.products import Shard, Split
from isoflop.text.document import Documents
from isoflop.text.encode import SAMPLE_BYTES, encoder_of, ids_dtype, is_fast_right
from isoflop.text.parts import batches, bounds, each, neighbours, spread

SHARD_TOKENS = 1 << 24
"""A shard ends with the first document that takes it to this many tokens: 32 MB, which processes share evenly."""
_BATCH_BYTES = 2_000_000
"""Encoded at a time: little in memory."""
_BLOCK_TOKENS = 1 << 20
_MAX_OPEN = 256
"""Files at a time, of a system's usual 1,024."""
TOKENS = ".tokens"
"""How the names of files begin that hold token ids on their way into shards; a kill may leave them."""


@dataclass(frozen=True)
class Encoded:
    """The ids of documents, in files of some of them each."""

    files: list[Path]
    parts: np.ndarray
    """int64 [documents]: which of the files."""
    starts: np.ndarray
    """int64 [documents]: tokens before it in its file."""
    lengths: np.ndarray
    """int64 [documents]: tokens of it, with end-of-text."""
    dtype: np.dtype[np.unsignedinteger[Any]]

    def of(self, documents: slice) -> Encoded:
        return replace(self, **{name: getattr(self, name)[documents] for name in ("parts", "starts", "lengths")})

    def blocks(self) -> Iterator[np.ndarray]:
        """The ids of all documents, in their order, some at a time; what came before is written over."""
        width, block, filled = self.dtype.itemsize, np.empty(_BLOCK_TOKENS, self.dtype), 0
        room = block.data.cast("B")
        with ExitStack() as stack:
            files = dict[int, int]()
            for part, start, length in zip(*(a.tolist() for a in (self.parts, self.starts, self.lengths)), strict=True):
                if filled + length > len(block):
                    yield block[:filled]
                    block, filled = block if length <= len(block) else np.empty(length, self.dtype), 0
                    room = block.data.cast("B")
                if part not in files:
                    if len(files) == _MAX_OPEN:
                        stack.close()
                        files.clear()
                    files[part] = stack.enter_context(self.files[part].open("rb", buffering=0)).fileno()
                wanted = room[width * filled : width * (filled + length)]
                if os.preadv(files[part], [wanted], width * start) != len(wanted):
                    raise _cut_off(self.files[part])
                filled += length
            yield block[:filled]


def write_splits(
    out: Path,
    parts: Mapping[str, Documents],
    tokenizer: Tokenizer,
    *,
    executor: Executor | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Split]:
    """Encodes the documents of every split and writes ``NAME.npy`` and ``NAME-documents.npy`` (int64) to ``out``; of
    ``train``, ``train-00000.npy`` .. (uint16, or uint32).

    Documents are encoded in the order in which they are best read and then put into that of their split, both by the
    ``executor`` where there is one, and neither needs more memory than a shard. ``progress`` is told the share done.
    """
    first, *others = parts.values()
    documents = first.joined(*others)
    try:
        encoded = _encode(out / TOKENS, documents, tokenizer, executor, progress)
        named = _shards(parts, encoded)
        jobs = [(out / name, encoded.of(span)) for name, span in named.items()]
        jobs.sort(key=lambda job: int(job[1].lengths.sum()), reverse=True)
        shards = dict(map(_write_shard, jobs) if executor is None else executor.map(_write_shard, jobs))
    finally:
        for leftover in out.glob(f"{TOKENS}*"):
            leftover.unlink(missing_ok=True)
    splits, done = {}, 0
    for name, part in parts.items():
        mine = [shards[shard] for shard in named if shard.startswith((f"{name}-", f"{name}."))]
        splits[name] = _split(out, name, part, encoded.lengths[done : done + len(part)], mine)
        done += len(part)
    return splits


def _encode(
    path: Path,
    documents: Documents,
    tokenizer: Tokenizer,
    executor: Executor | None,
    progress: Callable[[float], None],
) -> Encoded:
    parts, starts, lengths = (np.zeros(len(documents), dtype=np.int64) for _ in range(3))
    files: list[Path] = []
    num_encoded, total = 0, max(documents.num_bytes, 1)
    serialized, sample = tokenizer.to_str(), neighbours(documents, 2 * SAMPLE_BYTES)
    halves = [sample.take(np.arange(half, len(sample), 2)).alone() for half in (0, 1)]  # one for each of two processes
    fast = all(list(each(partial(_is_fast_right, serialized), halves, executor)))
    work, dtype = partial(_encode_part, path, serialized, fast), np.dtype(ids_dtype(tokenizer))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with closing(spread(work, documents, executor)) as encoded:
        for part, (file, found) in encoded:
            if file.stat().st_size != int(found.sum()) * dtype.itemsize:
                raise _cut_off(file)
            parts[part], starts[part], lengths[part] = len(files), np.cumsum(found) - found, found
            files.append(file)
            num_encoded += int(documents.sizes[part].sum())
            progress(num_encoded / total)
    encoder_of.cache_clear()  # this process may go on for hours
    return Encoded(files, parts, starts, lengths, dtype)


def _is_fast_right(serialized: str, documents: Documents) -> bool:
    return is_fast_right(serialized, list(documents))


def _cut_off(file: Path) -> CorruptFileError:
    return CorruptFileError("not the tokens that were written", where=str(file), remedy="Prepare it again")


def _encode_part(path: Path, serialized: str, fast: bool, documents: Documents) -> tuple[Path, np.ndarray]:
    """Writes the ids of ``documents`` to a file of their own beside ``path``; that file, int64 [documents] how many."""
    encode, lengths = encoder_of(serialized, fast=fast), np.zeros(len(documents), dtype=np.int64)
    with disk_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
        with os.fdopen(handle, "wb") as file:
            for batch in batches(documents, _BATCH_BYTES):
                for index, ids in zip(batch, encode(list(documents.take(batch))), strict=True):
                    lengths[index] = len(ids)
                    file.write(ids.data)
    return Path(name), lengths


def _shards(parts: Mapping[str, Documents], encoded: Encoded) -> dict[str, slice]:
    """Every shard of every split, and which of all documents it holds."""
    found, first = {}, 0
    for name, part in parts.items():
        lengths = encoded.lengths[first : first + len(part)]
        limit = SHARD_TOKENS if name == "train" else int(lengths.sum()) + 1
        for number, (start, end) in enumerate(pairwise(bounds(lengths, limit))):
            found[f"train-{number:05d}.npy" if name == "train" else f"{name}.npy"] = slice(first + start, first + end)
        first += len(part)
    return found


def _write_shard(argument: tuple[Path, Encoded]) -> tuple[str, Shard]:
    path, encoded = argument
    num_tokens = int(encoded.lengths.sum())
    sha256 = write_arrays(path, encoded.blocks(), dtype=encoded.dtype, shape=(num_tokens,))
    return path.name, Shard(path.name, sha256, num_tokens)


def _split(out: Path, name: str, documents: Documents, lengths: np.ndarray, shards: list[Shard]) -> Split:
    table = np.column_stack([lengths, documents.sizes])
    num_tokens, size = (int(total) for total in table.sum(axis=0))
    file_name = f"{name}-documents.npy"
    listed = Shard(file_name, write_array(out / file_name, table.astype(np.int64)), num_tokens)
    return Split(len(documents), size, num_tokens, shards, listed)


def open_split(out: Path, split: Split) -> list[np.ndarray]:
    """The memory-mapped shards of ``split`` in ``out``; `CorruptFileError` where a checksum differs."""
    return [_open(out / shard.file, shard.sha256) for shard in split.shards]


def open_documents(out: Path, split: Split) -> np.ndarray:
    """int64 [num_documents, 2]: tokens (with end-of-text) and bytes of each document, in shard order."""
    return _open(out / split.documents.file, split.documents.sha256)


def _open(path: Path, sha256: str) -> np.ndarray:
    verify_once(path, sha256)
    return np.load(path, mmap_mode="r", allow_pickle=False)
