from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isoflop.text.collect import formats, streams
from isoflop.text.collect.documents import documents, is_known
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.sources import find
from isoflop.text.collect.streams import Refused
from toy import tarred, zipped, zstd

LINES = b'{"text": "one"}\n{"text": "two"}\n'


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["one", "two"]}), buffer)
    return buffer.getvalue()


def found(path: Path, field: str | None = None) -> list[Raw | Refused]:
    (file,) = find([path])
    return list(documents(file, field=field))


def texts(items: list[Raw | Refused]) -> list[bytes]:
    return [item.data for item in items if isinstance(item, Raw)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES),
        ("a.JSONL.GZ", gzip.compress(LINES)),
        ("a.jsonl.zst", zstd(LINES)),
        ("a.jsonl.xz", lzma.compress(LINES)),
        ("a.csv", b"text,id\none,1\ntwo,2\n"),
        ("a.tsv.gz", gzip.compress(b"id\ttext\n1\tone\n2\ttwo\n")),
        ("a.parquet", parquet_bytes()),
        ("a.parquet.gz", gzip.compress(parquet_bytes())),
        ("a.zip", zipped({"x/1.txt": b"one", "2.md": b"two"})),
        ("a.tar", tarred({"1.txt": b"one", "2.txt.gz": gzip.compress(b"two")})),
        ("a.tgz", gzip.compress(tarred({"1.jsonl": LINES}))),
        ("a.tar.zst", zstd(tarred({"1.parquet": parquet_bytes()}))),
        ("a.b.c.zip", zipped({"t.tsv": b"text\none\ntwo\n"})),
    ],
)
def test_every_format_compression_and_archive_gives_its_documents(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert is_known(name)
    assert texts(found(tmp_path / name)) == [b"one", b"two"]


def test_places_name_the_part_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"in/b.jsonl": b'{"text": "x"}\n{', "c.exe": b"MZ", "d.txt": b"\0"}))
    document, line, unknown, binary = found(tmp_path / "a.zip")
    assert document == Raw(b"x", "line 1 of in/b.jsonl")
    assert str(line) == "not JSON at line 2 of in/b.jsonl"
    assert isinstance(unknown, Refused) and unknown.reason == "unknown_format" and unknown.place == "c.exe"
    assert str(binary) == "binary (NUL) at byte 0 of d.txt"


def test_a_damaged_member_leaves_the_others(tmp_path: Path) -> None:
    files = {"1.txt": b"one", "2.txt.gz": gzip.compress(b"x" * 999)[:-9], "3.txt": b"three"}
    for name, data in (("a.zip", zipped(files)), ("a.tar", tarred(files))):
        (tmp_path / name).write_bytes(data)
        items = found(tmp_path / name)
        assert texts(items) == [b"one", b"three"]
        assert [item.reason for item in items if isinstance(item, Refused)] == ["cut_off"]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (refused,) = found(tmp_path / "pipe.txt")
    assert isinstance(refused, Refused) and refused.reason == "not_a_file"


def test_a_line_of_a_gigabyte_needs_no_gigabyte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_RECORD_BYTES", 1 << 20)
    monkeypatch.setattr(streams, "MAX_EXPANSION", 10**6)
    (tmp_path / "a.jsonl.zst").write_bytes(zstd(b"x" * (64 << 20)) + zstd(b"\n" + LINES))
    items = found(tmp_path / "a.jsonl.zst")
    assert texts(items) == [b"one", b"two"] and str(items[0]) == "a record over 1 MB at line 1"


def damaged(random: random.Random, data: bytes) -> bytes:
    """Cut off, bits flipped, bytes doubled, zeros or noise put in."""
    kind = random.randrange(5)
    place = random.randrange(len(data)) if data else 0
    if kind == 0:
        return data[:place]
    if kind == 1 and data:
        return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
    middle = {2: data[place : place + 50], 3: bytes(9), 4: random.randbytes(20)}.get(kind, b"")
    return data[:place] + middle + data[place:]


MAKERS: dict[str, Callable[[bytes], bytes]] = {
    "a.txt": bytes,
    "a.txt.gz": gzip.compress,
    "a.txt.zst": zstd,
    "a.txt.xz": lzma.compress,
    "a.jsonl": lambda text: b"".join(json.dumps({"text": line}).encode() + b"\n" for line in text.decode().split("\n")),
    "a.csv": lambda text: b"text\n" + b"".join(b'"%s"\n' % line for line in text.split(b"\n")),
    "a.parquet": lambda text: parquet_bytes(),
    "a.zip": lambda text: zipped({"1.txt": text, "2.txt": text}),
    "a.tar": lambda text: tarred({"1.txt": text, "2.txt.gz": gzip.compress(text)}),
    "a.tar.gz": lambda text: gzip.compress(tarred({"1.txt": text})),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_hundred_damaged_files_of_each_kind_raise_nothing(tmp_path: Path, name: str) -> None:
    generator = random.Random(name)
    whole = MAKERS[name]("Four score and seven years ago é\n".encode() * 40)
    for _ in range(100):
        (tmp_path / name).write_bytes(damaged(generator, whole))
        for item in found(tmp_path / name):
            assert item.data.decode() is not None if isinstance(item, Raw) else item.reason
