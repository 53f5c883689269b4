from __future__ import annotations

import gzip
import io
import lzma
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.text.collect import streams
from isoflop.text.collect.streams import BlockReader, Refused, decompressed
from toy import zstd

COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd}


def unpacked(data: bytes, suffix: str) -> bytes:
    return b"".join(decompressed(io.BytesIO(data), suffix))


@pytest.mark.parametrize("suffix", COMPRESS)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_all_members_come_back_one_after_the_other(suffix: str, parts: list[bytes]) -> None:
    assert unpacked(b"".join(COMPRESS[suffix](part) for part in parts), suffix) == b"".join(parts)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_long_streams_come_in_blocks(suffix: str) -> None:
    text = bytes(range(97, 123)) * 200_000
    parts = list(decompressed(io.BytesIO(COMPRESS[suffix](text)), suffix))
    assert b"".join(parts) == text
    assert max(map(len, parts)) <= streams.BLOCK_BYTES


def test_a_block_that_the_output_just_fills_is_not_the_end() -> None:
    text = b"a" * (3 * streams.BLOCK_BYTES)
    assert unpacked(gzip.compress(text), ".gz") == text


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_stream_cut_off_is_refused_after_what_could_be_read(suffix: str) -> None:
    text = bytes(i * i % 251 for i in range(50_000))
    whole = COMPRESS[suffix](text)
    got = b""
    with pytest.raises(Refused, match=rf"corrupt {suffix[1:]} .* at byte") as caught:
        for part in decompressed(io.BytesIO(whole[:-9]), suffix):
            got += part
    assert text.startswith(got) and caught.value.reason in ("cut_off", "corrupt")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_what_is_not_compressed_is_refused(suffix: str) -> None:
    with pytest.raises(Refused, match=f"corrupt {suffix[1:]}"):
        unpacked(b"plain text, no archive at all", suffix)


def test_gzip_is_read_alike_without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = bytes(range(97, 123)) * 50_000
    whole = gzip.compress(text) + gzip.compress(b"end")
    assert unpacked(whole, ".gz") == text + b"end"
    monkeypatch.setattr(streams, "inflate", zlib)
    assert unpacked(whole, ".gz") == text + b"end"
    with pytest.raises(Refused, match="it ends in the middle"):
        unpacked(whole[:-2], ".gz")


def test_padding_behind_the_last_member_is_no_damage() -> None:
    assert unpacked(gzip.compress(b"tape") + bytes(5000), ".gz") == b"tape"


@pytest.mark.parametrize("suffix", COMPRESS)
def test_bombs_are_stopped_early(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 1 << 20)
    bomb = COMPRESS[suffix](bytes(50 << 20))
    taken = 0
    with pytest.raises(Refused, match="expands more than 300 times") as caught:
        for part in decompressed(io.BytesIO(bomb), suffix):
            taken += len(part)
    assert caught.value.reason == "expands_too_much"
    assert taken <= max(1 << 20, 300 * len(bomb)) + (1 << 20)


@given(st.lists(st.binary(max_size=20)), st.integers(1, 50))
def test_blocks_read_as_a_file(parts: list[bytes], size: int) -> None:
    reader = io.BufferedReader(BlockReader(iter(parts)), buffer_size=7)
    got = b""
    while piece := reader.read(size):
        got += piece
    assert got == b"".join(parts)


def test_a_part_is_named_within_its_whole() -> None:
    assert str(Refused("corrupt", "corrupt gz", place="byte 7").within("a/b.txt")) == "corrupt gz at byte 7 of a/b.txt"
    assert str(Refused("encrypted").within("a")) == "encrypted at a"
