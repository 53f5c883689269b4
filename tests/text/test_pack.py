from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from isoflop.core.errors import CorruptFileError
from isoflop.core.files import file_sha256
from isoflop.text.pack import open_documents, open_split, write_split
from isoflop.text.read import Document
from isoflop.text.tokenizer import END_OF_TEXT_ID, encode_all, token_byte_lengths, train_tokenizer

DOCUMENTS = [Document.of(f"number {i} ".encode() * (i + 1)) for i in range(30)]
TOKENIZER = train_tokenizer(DOCUMENTS, vocab_size=280)


def test_shards_hold_the_documents_and_the_table_their_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.text.pack.SHARD_TOKENS", 300)
    monkeypatch.setattr("isoflop.text.pack._BATCH_BYTES", 300)
    done: list[int] = []
    split = write_split(tmp_path, "train", DOCUMENTS, TOKENIZER, progress=done.append)
    shards = open_split(tmp_path, split)
    assert len(shards) > 3
    assert [shard.file for shard in split.shards][:2] == ["train-00000.npy", "train-00001.npy"]
    assert all(shard.dtype == np.uint16 and isinstance(shard, np.memmap) for shard in shards)
    assert [len(shard) for shard in shards] == [shard.num_tokens for shard in split.shards]
    assert all(shard[-1] == END_OF_TEXT_ID for shard in shards)
    table = open_documents(tmp_path, split)
    ids = np.concatenate(shards)
    pieces = np.split(ids, np.cumsum(table[:, 0])[:-1])
    assert [TOKENIZER.decode(piece[:-1].tolist()).encode() for piece in pieces] == [d.data for d in DOCUMENTS]
    assert table[:, 1].tolist() == [len(document.data) for document in DOCUMENTS]
    assert token_byte_lengths(TOKENIZER)[ids].sum() == split.num_bytes == done[-1]
    assert split.num_tokens == len(ids)


def test_held_out_splits_are_one_file(tmp_path: Path) -> None:
    split = write_split(tmp_path, "val", DOCUMENTS, TOKENIZER)
    assert [shard.file for shard in split.shards] == ["val.npy"]
    assert split.documents.file == "val-documents.npy"


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    split = write_split(tmp_path, "test", DOCUMENTS, TOKENIZER)
    data = bytearray((tmp_path / "test.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "test.npy").write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"test\.npy: .*checksum differs"):
        open_split(tmp_path, split)


class Counted(np.ndarray):
    """Token ids that count how often their length is asked for."""

    asked = 0

    def __len__(self) -> int:
        Counted.asked += 1
        return super().__len__()


def test_the_work_is_proportional_to_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "isoflop.text.pack.encode_all",
        lambda tokenizer, batch: [ids.view(Counted) for ids in encode_all(tokenizer, batch)],
    )
    Counted.asked = 0
    write_split(tmp_path, "train", DOCUMENTS, TOKENIZER)
    assert 0 < Counted.asked <= 3 * len(DOCUMENTS)


def test_a_file_is_verified_once_and_again_after_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counting(path: Path) -> str:
        hashed.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr("isoflop.core.files.file_sha256", counting)
    split = write_split(tmp_path, "test", DOCUMENTS, TOKENIZER)
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
