"""What `isoflop verify` and `inspect` do: what a prepared text holds, and whether it is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isoflop.core import codec
from isoflop.core.card import CARD, TEXT, DataCard, load_card, place_of
from isoflop.core.errors import CorruptFileError, StudyError, TextError
from isoflop.core.files import verify as verify_file
from isoflop.core.products import CorpusManifest
from isoflop.text.prepare import MANIFEST, TOKENIZER, load
from isoflop.text.shards import REJECTS, Shelf


def told(card: DataCard, manifest: CorpusManifest | None) -> dict[str, Any]:
    """A card and its manifest as JSON values for a person's or a program's use."""
    answer = {
        "num_read": card.tally.num_read,
        "bytes_read": card.tally.bytes_read,
        "num_documents": card.num_documents,
        "num_bytes": card.num_bytes,
        "dropped": dict(card.tally.dropped.most_common()),
        "dropped_bytes": dict(card.tally.dropped_bytes),
        "refused": dict(card.tally.refused),
        "refusals": card.tally.refusals,
        "mended": dict(card.tally.mended),
        "redacted": dict(card.tally.redacted),
        "languages": dict(card.tally.languages.most_common()),
        "benchmarks": {
            name: {"num_items": count, "num_found": len(card.tally.found.get(name, []))}
            for name, count in card.benchmarks.items()
        },
        "mixture": codec.encode(card.mixture),
        "num_clusters": card.num_clusters,
        "cpu_seconds": sum(cost.cpu_seconds for cost in card.costs),
        "joules": sum(cost.joules for cost in card.costs),
    }
    if manifest is not None:
        answer |= {
            "vocab_size": manifest.vocab_size,
            "tokens": {name: getattr(manifest, name).num_tokens for name in ("train", "val", "test")},
            "tokens_per_byte": manifest.tokens_per_byte,
            "warnings": codec.encode(manifest.warnings),
        }
    return answer


def verify(folder: Path) -> dict[str, Any]:
    """Compares every file of a prepared text, a corpus or a study's corpus with its checksum.

    Raises `CorruptFileError` that names the first file that is missing, changed or nobody's; `StudyError` where there
    is nothing to verify.
    """
    corpus = folder / "corpus" if (folder / "study.toml").is_file() else folder
    expected = _expected(corpus)
    if not expected:
        raise StudyError("neither a prepared text nor a study", where=str(folder), remedy="Give a folder of either")
    for file, sha256 in expected.items():
        verify_file(corpus / file, sha256)
    _refuse_strangers(corpus, set(expected))
    return {"folder": str(corpus), "num_files": len(expected), "num_bytes": _size(corpus, expected)}


def inspect(folder: Path, document: int | None) -> dict[str, Any]:
    """The card's figures, or one kept document with where it came from. Raises `TextError` for one that is not."""
    card = load_card(folder)
    if document is None:
        return told(card, load(folder) if (folder / MANIFEST).is_file() else None)
    if not 0 <= document < card.num_documents:
        remedy = f"Choose one from 0 to {card.num_documents - 1}"
        raise TextError(f"no document {document}", where=str(folder), remedy=remedy)
    number, place = place_of(card.shards, document)
    shard = card.shards[number]
    row = Shelf(folder, shard).table().slice(place, 1).to_pylist()[0]
    return {"document": document, "shard": shard.file} | row | {"id": row["id"].hex()}


def _expected(corpus: Path) -> dict[str, str]:
    """File within ``corpus`` to SHA-256."""
    expected: dict[str, str] = {}
    if (corpus / CARD).is_file():
        expected |= {shard.file: shard.sha256 for shard in load_card(corpus).shards}
    if (corpus / MANIFEST).is_file():
        manifest = load(corpus)
        splits = (manifest.train, manifest.val, manifest.test)
        expected[TOKENIZER] = manifest.tokenizer_sha256
        expected |= {shard.file: shard.sha256 for split in splits for shard in (*split.shards, split.documents)}
    return expected


def _refuse_strangers(corpus: Path, known: set[str]) -> None:
    for path in sorted([*corpus.glob("*.npy"), *corpus.glob(f"{TEXT}/*.parquet")]):
        name = path.relative_to(corpus).as_posix()
        if name not in known and not name.endswith(REJECTS):
            raise CorruptFileError("a file that no manifest names", where=str(path), remedy="Remove it")


def _size(corpus: Path, files: dict[str, str]) -> int:
    return sum((corpus / file).stat().st_size for file in files)
