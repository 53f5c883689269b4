from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isoflop.core.errors import CorruptFileError
from isoflop.core.files import file_sha256
from isoflop.fleet.local import Local
from isoflop.text.document import Documents, order_of
from isoflop.text.pack import Encoded, open_documents, open_split, write_splits
from isoflop.text.shards import Entry, stored, write_shard
from isoflop.text.tokenizer import END_OF_TEXT_ID, token_byte_lengths, train_tokenizer
from toy import DAMAGES

TEXTS = [f"number {i} ".encode() * (i + 1) for i in range(30)]
DOCUMENTS = Documents.of(TEXTS)
TOKENIZER = train_tokenizer(DOCUMENTS, vocab_size=280)


def test_shards_hold_the_documents_and_the_table_their_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.text.pack.SHARD_TOKENS", 300)
    monkeypatch.setattr("isoflop.text.pack._BATCH_BYTES", 300)
    done: list[float] = []
    split = write_splits(tmp_path, {"train": DOCUMENTS}, TOKENIZER, progress=done.append)["train"]
    shards = open_split(tmp_path, split)
    assert len(shards) > 3
    assert [shard.file for shard in split.shards][:2] == ["train-00000.npy", "train-00001.npy"]
    assert all(shard.dtype == np.uint16 and isinstance(shard, np.memmap) for shard in shards)
    assert [len(shard) for shard in shards] == [shard.num_tokens for shard in split.shards]
    assert all(shard[-1] == END_OF_TEXT_ID for shard in shards)
    table = open_documents(tmp_path, split)
    ids = np.concatenate(shards)
    pieces = np.split(ids, np.cumsum(table[:, 0])[:-1])
    assert [TOKENIZER.decode(piece[:-1].tolist()).encode() for piece in pieces] == TEXTS
    assert table[:, 1].tolist() == [len(text) for text in TEXTS]
    assert token_byte_lengths(TOKENIZER)[ids].sum() == split.num_bytes and done[-1] == 1
    assert split.num_tokens == len(ids)


def test_held_out_splits_are_one_file(tmp_path: Path) -> None:
    split = write_splits(tmp_path, {"val": DOCUMENTS}, TOKENIZER)["val"]
    assert [shard.file for shard in split.shards] == ["val.npy"]
    assert split.documents.file == "val-documents.npy"


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    split = write_splits(tmp_path, {"test": DOCUMENTS}, TOKENIZER)["test"]
    data = bytearray((tmp_path / "test.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "test.npy").write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"test\.npy: .*checksum differs"):
        open_split(tmp_path, split)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_thousand_mutations_of_a_shard_are_refused_by_name(tmp_path: Path, damage: Any) -> None:
    split = write_splits(tmp_path, {"test": DOCUMENTS}, TOKENIZER)["test"]
    path = tmp_path / "test.npy"
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for number in range(340):
        changed = damage(whole, generator)
        path.write_bytes(changed)
        os.utime(path, ns=(number, number))
        if changed == whole:  # a page that was zero
            continue
        with pytest.raises(CorruptFileError, match=r"test\.npy: .*checksum differs"):
            open_split(tmp_path, split)


def test_documents_are_read_in_their_order_on_disk_and_written_in_their_splits(tmp_path: Path) -> None:
    entries = [Entry(text, "", "", "") for text in TEXTS]
    shards = [write_shard(tmp_path, f"{i}.parquet", entries[i::3]) for i in range(3)]
    on_disk = stored(tmp_path, shards)
    assert sorted(zip(on_disk.names(), on_disk, strict=True)) == sorted(zip(DOCUMENTS.names(), TEXTS, strict=True))
    places = {"train": np.arange(20)[::-1], "val": np.arange(20, 25), "test": np.arange(25, 30)}
    parts = {name: DOCUMENTS.take(places) for name, places in places.items()}
    kept = {name: on_disk.take(_same(on_disk, part)) for name, part in parts.items()}
    from_memory, from_disk, by_two = (
        write_splits(tmp_path / name, each, TOKENIZER, executor=executor)
        for name, each, executor in (("a", parts, None), ("b", kept, None), ("c", kept, Local(2)))
    )
    assert from_memory == from_disk == by_two
    mixed = on_disk.take(_same(on_disk, DOCUMENTS))
    read = mixed.take(mixed.reading_order())
    assert list(zip(read.files.tolist(), read.rows.tolist(), strict=True)) == [
        (i, row) for i in range(3) for row in range(10)
    ]
    assert not list(tmp_path.glob("?/.tokens*"))


def _same(documents: Documents, wanted: Documents) -> list[int]:
    """Where the ``wanted`` are among the documents."""
    return [documents.names().index(name) for name in wanted.names()]


def test_a_file_is_verified_once_and_again_after_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counting(path: Path) -> str:
        hashed.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr("isoflop.core.files.file_sha256", counting)
    split = write_splits(tmp_path, {"test": DOCUMENTS}, TOKENIZER)["test"]
    for _ in range(3):
        open_split(tmp_path, split)
        open_documents(tmp_path, split)
    assert sorted(hashed) == ["test-documents.npy", "test.npy"]
    data = bytearray((tmp_path / "test.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "test.npy").write_bytes(data)
    os.utime(tmp_path / "test.npy", ns=(0, 0))  # the clock of a file system may not have ticked since
    for _ in range(2):
        with pytest.raises(CorruptFileError, match="checksum differs"):
            open_split(tmp_path, split)
    (tmp_path / "test.npy").unlink()
    with pytest.raises(CorruptFileError, match="missing"):
        open_split(tmp_path, split)


def test_few_files_are_open_at_once_and_blocks_may_be_shorter_than_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [Entry(text, "", "", "") for text in TEXTS]
    shards = [write_shard(tmp_path, f"{i}.parquet", entries[i::7]) for i in range(7)]
    documents = stored(tmp_path, shards)
    documents = documents.take(order_of(documents.digests))
    wide = write_splits(tmp_path / "wide", {"train": documents}, TOKENIZER)
    monkeypatch.setattr("isoflop.text.pack._MAX_OPEN", 2)
    monkeypatch.setattr("isoflop.text.pack._BLOCK_TOKENS", 16)
    assert write_splits(tmp_path / "narrow", {"train": documents}, TOKENIZER) == wide


def test_tokens_that_were_cut_off_on_their_way_are_refused_by_name(tmp_path: Path) -> None:
    part = tmp_path / ".tokens-part"
    part.write_bytes(b"\1\0\2\0\3")
    whole, torn = np.array([0]), np.array([2])
    encoded = Encoded([part], np.array([0]), whole, torn, np.dtype(np.uint16))
    assert [block.tolist() for block in encoded.blocks()] == [[1, 2]]
    with pytest.raises(CorruptFileError, match=r"tokens-part: not the tokens that were written"):
        list(Encoded([part], np.array([0]), whole, np.array([3]), np.dtype(np.uint16)).blocks())
