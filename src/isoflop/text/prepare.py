"""The corpus stage: text files in, ``corpus/`` out. The manifest is written last: without it there is no corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from isoflop.core import codec
from isoflop.core.errors import CorruptFileError, StudyError
from isoflop.core.executor import Executor
from isoflop.core.files import disk_errors, file_sha256, read_json, verify, write_checked_json, write_text
from isoflop.core.products import FORMAT_VERSION, CorpusManifest, Split, StudyWarning
from isoflop.text.collect.sources import absolute, display
from isoflop.text.demo import demo_source, is_demo
from isoflop.text.document import Documents
from isoflop.text.pack import TOKENS, open_documents, open_split, write_splits
from isoflop.text.parts import each
from isoflop.text.read import Inputs, Reading, fingerprint, read
from isoflop.text.split import Partition, split
from isoflop.text.tokenizer import (
    choose_vocab_size,
    end_of_text,
    end_of_text_id,
    num_ids,
    parse_tokenizer,
    train_tokenizer,
)
from isoflop.text.vocabulary import LEAST_BYTES, SIZES, Cut, cuts, smaller

__all__ = ["fingerprint", "load", "open_documents", "open_split", "open_tokenizer", "prepare"]

Choose = Callable[[Sequence[Cut], int], int]
"""From what a text is in tokens of several vocabularies, and its bytes, to the size of one."""
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
_TINY_TOKENS = 100_000
_READ_SHARE, _TRAINED_SHARE = 0.1, 0.3
_NUM_GIVEN_BACK, _BYTES_GIVEN_BACK = 50, 4_000
"""Documents that a tokenizer is held against, and so much of each."""

Progress = Callable[[float, str], None]


def prepare(
    inputs: Inputs,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    vocab_size: int | None = None,
    choose: Choose | None = None,
    tokenizer: Tokenizer | None = None,
    sources: list[str] | None = None,
    executor: Executor | None = None,
    kernels: bool = False,
) -> CorpusManifest:
    """Reads, splits, tokenizes and packs ``inputs`` into the folder ``out``; what a killed attempt left there goes.

    Text goes through memory, but that of a prepared text stays where it is, for the ``executor``'s processes to read.
    ``progress`` is told the share done and what is going on; ``sources`` are noted in place of ``inputs``; without a
    ``tokenizer`` one is trained (by ``kernels``: `train_tokenizer`), of as many words as ``vocab_size`` says, or
    ``choose``, or the text's size. Raises `TextError` for text that cannot be used (then nothing is written) and
    `DiskError` where ``out`` cannot be written.
    """
    tell = progress or (lambda fraction, activity: None)
    reading = read(inputs, executor=executor, progress=lambda share: tell(_READ_SHARE * share, "reading"))
    partition = split(reading.documents, seed=seed, executor=executor)
    tell(_READ_SHARE, "training the tokenizer")
    parts = {"train": partition.train, "val": partition.val, "test": partition.test}
    lossy = [] if tokenizer is None else _lossy(tokenizer, partition.val, executor)
    if tokenizer is None:
        size = sum(part.num_bytes for part in parts.values())
        train = partial(train_tokenizer, partition.train, kernels=kernels, executor=executor)
        tokenizer = _trained(train, partition.train, size, vocab_size, choose)
    _clear(out)
    write_text(out / TOKENIZER, tokenizer.to_str())
    tell(_TRAINED_SHARE, "encoding")
    splits = write_splits(
        out,
        parts,
        tokenizer,
        executor=executor,
        progress=lambda share: tell(_TRAINED_SHARE + (1 - _TRAINED_SHARE) * share, "encoding"),
    )
    manifest = _manifest(inputs, reading, partition, splits, tokenizer, out, lossy)
    manifest = manifest if sources is None else replace(manifest, sources=sources)
    write_checked_json(out / MANIFEST, codec.encode(manifest))
    return manifest


def _trained(
    train: Callable[..., Tokenizer],
    documents: Documents,
    size: int,
    vocab_size: int | None,
    choose: Choose | None,
) -> Tokenizer:
    """By ``train``, on the ``documents`` of a text of ``size`` bytes."""
    if vocab_size is not None or choose is None or size < LEAST_BYTES:
        return train(vocab_size=vocab_size or choose_vocab_size(size))
    largest = train(vocab_size=SIZES[-1])
    found = cuts(largest, documents)
    return smaller(largest, choose(found, size)) if found else largest


def load(out: Path) -> CorpusManifest:
    """The manifest of a finished corpus.

    Raises `StudyError` where there is none or it has another format version, `CorruptFileError` where it is damaged.
    """
    path = out / MANIFEST
    if not path.is_file():
        raise StudyError("no finished corpus here", where=str(out), remedy="Prepare the text first")
    value = read_json(path)
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        found = f"the corpus has format version {version}, this isoflop reads {FORMAT_VERSION}"
        raise StudyError(found, where=str(path), remedy="Use the isoflop that wrote it, or start a new study")
    try:
        manifest: CorpusManifest = codec.decode(CorpusManifest, value, where=str(path))
    except ValueError as error:
        raise CorruptFileError(str(error), remedy="Prepare the text again in a new folder") from error
    return manifest


def open_tokenizer(out: Path, manifest: CorpusManifest) -> Tokenizer:
    """The corpus's tokenizer, its checksum verified; ``<|endoftext|>`` in a text is plain text to it."""
    path = out / TOKENIZER
    verify(path, manifest.tokenizer_sha256)
    return parse_tokenizer(path.read_text(encoding="utf-8"))


def _clear(out: Path) -> None:
    """Removes an earlier attempt, the manifest first so that a kill in between leaves no corpus that looks whole."""
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)
        for pattern in ("*.npy", f"{TOKENS}*", ".*.npy.*", f".{TOKENIZER}.*", f".{MANIFEST}.*"):
            for leftover in out.glob(pattern):
                leftover.unlink(missing_ok=True)


def _manifest(
    inputs: Inputs,
    reading: Reading,
    partition: Partition,
    splits: dict[str, Split],
    tokenizer: Tokenizer,
    out: Path,
    lossy: list[StudyWarning],
) -> CorpusManifest:
    demo = is_demo(inputs)
    dropped = Counter(reading.num_dropped) + Counter(partition.num_dropped)
    return CorpusManifest(
        format_version=FORMAT_VERSION,
        fingerprint=reading.fingerprint,
        sources=[demo_source()] if demo else [display(absolute(path)) for path in inputs],
        is_demo=demo,
        num_files=reading.num_files,
        num_documents=sum(split.num_documents for split in splits.values()),
        num_bytes=sum(split.num_bytes for split in splits.values()),
        num_dropped=dict(dropped),
        vocab_size=num_ids(tokenizer),
        end_of_text=str(end_of_text(tokenizer)),
        end_of_text_id=end_of_text_id(tokenizer),
        tokenizer_sha256=file_sha256(out / TOKENIZER),
        tokens_per_byte=splits["train"].num_tokens / splits["train"].num_bytes,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        warnings=[*reading.warnings, *partition.warnings, *_tiny(splits["train"]), *lossy],
    )


def _lossy(tokenizer: Tokenizer, documents: Documents, executor: Executor | None) -> list[StudyWarning]:
    """A tokenizer from elsewhere may not give a text back as it was."""
    first = documents.take(documents.reading_order()[:_NUM_GIVEN_BACK]).alone()
    (num_changed,) = each(partial(_num_changed, tokenizer.to_str()), [first], executor)
    if not num_changed:
        return []
    what = (
        f"the tokenizer changes {num_changed} of {len(first)} documents: bits per byte are of what it keeps of a text"
    )
    return [StudyWarning("lossy_tokenizer", what)]


def _num_changed(serialized: str, documents: Documents) -> int:
    """Documents whose beginnings do not come back as they were."""
    tokenizer = parse_tokenizer(serialized)
    texts = [data[:_BYTES_GIVEN_BACK].decode(errors="ignore") for data in documents]
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    found = tokenizer.decode_batch([encoding.ids for encoding in encodings], skip_special_tokens=False)
    return sum(a != b for a, b in zip(texts, found, strict=True))


def _tiny(train: Split) -> list[StudyWarning]:
    if train.num_tokens >= _TINY_TOKENS:
        return []
    message = (
        f"only {train.num_tokens:,} training tokens: any model will learn them by heart before it learns much else"
    )
    return [StudyWarning("tiny_corpus", message)]
