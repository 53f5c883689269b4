"""All documents of a text in memory, distinct, in an order that file names do not change; the rest is counted."""

from __future__ import annotations

import codecs
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isoflop.core.card import load_card
from isoflop.core.errors import TextError
from isoflop.core.executor import Executor
from isoflop.core.products import StudyWarning
from isoflop.text.collect.documents import KNOWN, documents, is_known
from isoflop.text.collect.sources import File, display, find, is_prepared, is_url, read_errors
from isoflop.text.collect.streams import Refused
from isoflop.text.document import Documents, order_of

_NUM_EXAMPLES = 3

Inputs = Sequence[Path | str]


@dataclass(frozen=True)
class Reading:
    """What the input files held."""

    documents: Documents
    """Kept documents, distinct and in the order of their hashes: independent of file names and their order."""
    fingerprint: str
    num_files: int
    """Files that gave text."""
    num_dropped: dict[str, int]
    warnings: list[StudyWarning]


def read(
    inputs: Inputs,
    *,
    executor: Executor | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Reading:
    """Reads all documents under ``inputs``, drops empty ones and exact duplicates; of a prepared text, whose shards the
    ``executor``'s processes verify, identities alone.

    ``progress`` is told the share of the input bytes read. Raises `TextError` for a missing path, an empty folder, a
    study folder, a file or folder that may not be read, or inputs in which no text was found.
    """
    files = find(inputs)
    if len(inputs) == 1 and is_prepared(inputs[0]):
        return _prepared(Path(inputs[0]), executor)
    collected = _Collected()
    done, total = 0, sum(file.size for file in files)
    for file in files:
        collected.add(file)
        done += file.size
        progress(done / max(total, 1))
    reading = collected.reading(_fingerprint(files))
    if not reading.documents:
        raise nothing_found(inputs, files, reading.num_dropped)
    return reading


def _prepared(folder: Path, executor: Executor | None) -> Reading:
    """A prepared text's documents, which stay on disk: they are distinct already, and their shards' digests known."""
    from isoflop.text.shards import stored

    shards = load_card(folder).shards
    found = stored(folder, shards, executor)
    return Reading(
        found.take(order_of(found.digests)),
        _combined([bytes.fromhex(shard.sha256) for shard in shards]),
        len(shards),
        {},
        [],
    )


def fingerprint(inputs: Inputs) -> str:
    """Identity of a corpus, hex: SHA-256 over the sorted SHA-256 digests of all files of a known format.

    Names, folders and order do not matter, every byte does. Raises `TextError` as `read` does.
    """
    return _fingerprint(find(inputs))


def keep_distinct(texts: list[bytes], num_dropped: Counter[str]) -> Documents:
    """Documents in the order of their hashes, without whitespace-only ones and duplicates, which are counted."""
    written = Documents.of([text for text in texts if text.strip()])
    order = order_of(written.digests)
    is_other = (np.diff(written.digests[order], axis=0, prepend=0) != 0).any(axis=1)
    is_other[:1] = True
    found = written.take(order[is_other]).alone()
    num_dropped.update(empty=len(texts) - len(written), duplicate=len(written) - len(found))
    return found


def nothing_found(inputs: Inputs, files: list[File], num_dropped: dict[str, int]) -> TextError:
    """The error of inputs without any text."""
    suffixes = sorted({Path(file.name).suffix or Path(file.name).name for file in files})
    counts = ", ".join(f"{count} {reason}" for reason, count in num_dropped.items())
    found = f"{len(files)} files ({', '.join(suffixes[:6])}), {counts or 'none with text'}"
    where = ", ".join(display(path) for path in inputs[:_NUM_EXAMPLES])
    return TextError(f"no text found among {found}", where=where, remedy=f"Give UTF-8 text as {KNOWN}")


def skipped(refusals: list[str], count: int) -> StudyWarning:
    """What a person is told of ``count`` files, parts and records that gave no text, of which some are named."""
    more = ", ..." if count > len(refusals) else ""
    noun = "a file or record" if count == 1 else f"{count} files or records"
    return StudyWarning("skipped_text", f"skipped {noun}: {', '.join(refusals)}{more}")


@dataclass
class _Collected:
    texts: list[bytes] = field(default_factory=list)
    num_files: int = 0
    num_dropped: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)

    def add(self, file: File) -> None:
        before = len(self.texts)
        with read_errors(file.path):
            for item in documents(file):
                if isinstance(item, Refused):
                    self._refuse(file, item)
                else:
                    self.texts.append(item.data.removeprefix(codecs.BOM_UTF8))
        self.num_files += len(self.texts) > before

    def _refuse(self, file: File, refusal: Refused) -> None:
        self.num_dropped[refusal.reason] += 1
        if refusal.reason != "unknown_format":  # a picture among the texts is no news
            self.refusals.append(f"{file.name}: {refusal}")

    def reading(self, fingerprint: str) -> Reading:
        documents = keep_distinct(self.texts, self.num_dropped)
        dropped = {reason: count for reason, count in sorted(self.num_dropped.items()) if count}
        named = self.refusals[:_NUM_EXAMPLES]
        warnings = [skipped(named, len(self.refusals))] if named else []
        return Reading(documents, fingerprint, self.num_files, dropped, warnings)


def _fingerprint(files: list[File]) -> str:
    known = [file for file in files if is_known(file.path) and (is_url(file.path) or Path(file.path).is_file())]
    digests = []
    for file in known:
        with read_errors(file.path), file.open() as stream:
            digests.append(hashlib.file_digest(stream, "sha256").digest())  # type: ignore[arg-type]
    return _combined(digests)


def _combined(digests: list[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()
