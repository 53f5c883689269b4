"""A thousand malformed inputs beside good ones: none raises, each is counted and named with its place."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from test_pipeline import prepared, recipe, rows

from toy import tarred, write_texts, zipped, zstd

PROSE = "The old captain carried two letters to the harbour before noon, and nobody asked him what was in them.\n"


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) // 2, len(data) - 4)]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """In the checksum behind a gzip member."""
    place = rng.randrange(len(data) - 8, len(data) - 4)
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def into(text: bytes, part: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(text))
    return text[:place] + part + text[place:]


KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty.txt": lambda text, rng: b"",
    "blank.md": lambda text, rng: b" \n\t" * rng.randrange(1, 9),
    "nul.txt": lambda text, rng: into(text, b"\0", rng),
    "broken.txt": lambda text, rng: into(text, b"\xff", rng),
    "half.txt": lambda text, rng: text + "é".encode()[:1],
    "utf16.txt": lambda text, rng: text.decode().encode("utf-16"),
    "mixed.txt": lambda text, rng: text + "caf\u00e9 ".encode("latin-1") + text,
    "cut.txt.gz": lambda text, rng: cut(gzip.compress(text), rng),
    "flipped.txt.gz": lambda text, rng: flipped(gzip.compress(text), rng),
    "cut.txt.xz": lambda text, rng: cut(lzma.compress(text), rng),
    "cut.txt.zst": lambda text, rng: cut(zstd(text), rng),
    "none.txt.zst": lambda text, rng: text,
    "lines.jsonl": lambda text, rng: b'{"text": "' + text[: rng.randrange(20, 60)],
    "field.jsonl": lambda text, rng: json.dumps({"body": text.decode()}).encode(),
    "number.jsonl": lambda text, rng: json.dumps({"text": rng.random()}).encode(),
    "bytes.jsonl": lambda text, rng: b'{"text": "caf\xe9"}',
    "column.csv": lambda text, rng: b"id,body\n1,%d\n" % rng.randrange(9),
    "short.csv": lambda text, rng: b"id,text\n%d\n" % rng.randrange(9),
    "quote.csv": lambda text, rng: b'text\n"never closed ' + text,
    "cut.parquet": lambda text, rng: cut(parquet(pa.table({"text": [text.decode()]})), rng),
    "column.parquet": lambda text, rng: parquet(pa.table({"body": [text.decode()]})),
    "missing.parquet": lambda text, rng: parquet(pa.table({"text": pa.array([None], pa.string())})),
    "out.zip": lambda text, rng: zipped({"../" * rng.randrange(1, 4) + "a.txt": text}),
    "out.tar": lambda text, rng: tarred({"/etc/a.txt": text}),
    "sheet.xls": lambda text, rng: rng.randbytes(30),
}


def test_a_thousand_malformed_inputs(tmp_path: Path) -> None:
    folder, rng = write_texts(tmp_path / "texts"), random.Random(0)
    malformed = [f"{i:02d}-{name}" for i in range(40) for name in KINDS]
    for name in malformed:
        text = (PROSE * rng.randrange(3, 9) + str(rng.random())).encode()
        (folder / name).write_bytes(KINDS[name[3:]](text, rng))
    card = prepared(recipe(folder, keeps_rejects=True), tmp_path / "out")
    kept = {Path(row["file"]).name for row in rows(card, tmp_path / "out")}
    gone = [row for path in (tmp_path / "out").rglob("*-rejects.parquet") for row in pq.read_table(path).to_pylist()]
    told = {Path(row["file"]).name: row for row in gone}
    assert len(malformed) == 1000 and set(malformed) <= set(told) and not kept & set(malformed)
    assert all(told[name]["reason"] for name in malformed)
    placed = ("nul", "broken", "half", "utf16", "mixed", "cut.txt", "flipped", "none", "lines", "bytes", "short")
    assert all(
        any(word in told[name]["place"] for word in ("byte", "line"))
        for name in malformed
        if name[3:].startswith(placed)
    )
    assert sum(card.tally.refused.values()) + card.tally.dropped["empty"] == 1000
