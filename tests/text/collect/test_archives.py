from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from isoflop.text.collect import streams
from isoflop.text.collect.archives import tar_members, zip_members
from isoflop.text.collect.streams import Refused
from toy import tarred, zipped


def opened(kind: str, data: bytes) -> Iterator[tuple[str, bytes] | Refused]:
    members = zip_members(io.BytesIO(data)) if kind == "zip" else tar_members(iter([data]))
    for member in members:
        yield member if isinstance(member, Refused) else (member[0], b"".join(member[1]))


PACK = {"zip": zipped, "tar": tarred}
FILES = {"a.txt": b"one", "folder/b.txt": b"two" * 9999, "empty.txt": b""}


@pytest.mark.parametrize("kind", PACK)
def test_members_come_with_names_and_bytes(kind: str) -> None:
    assert dict(opened(kind, PACK[kind](FILES))) == FILES  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("name", ["../../etc/cron.d/x.txt", "/etc/x.txt", "a/../../x.txt", "C:\\x.txt", "..\\x.txt"])
def test_names_that_lead_out_are_refused_and_the_rest_read(kind: str, name: str) -> None:
    refused, good = opened(kind, PACK[kind]({name: b"evil", "good.txt": b"good"}))
    assert isinstance(refused, Refused) and refused.reason == "unsafe_name"
    assert good == ("good.txt", b"good")


def test_links_are_left_out() -> None:
    assert list(opened("tar", tarred({"a.txt": b"x"}, link="b.txt"))) == [("a.txt", b"x")]


@pytest.mark.parametrize("kind", PACK)
def test_archives_cut_off_are_refused(kind: str) -> None:
    data = PACK[kind]({"a.txt": bytes(range(256)) * 99})
    with pytest.raises(Refused, match=f"corrupt {kind}"):
        list(opened(kind, data[: len(data) // 2]))


@pytest.mark.parametrize("kind", PACK)
def test_what_is_no_archive_is_refused(kind: str) -> None:
    with pytest.raises(Refused, match=f"corrupt {kind}"):
        list(opened(kind, b"no archive at all" * 99))


def test_a_flipped_bit_in_a_zip_is_found() -> None:
    data = bytearray(zipped({"a.txt": bytes(i * i % 251 for i in range(9999))}))
    data[200] ^= 1
    with pytest.raises(Refused, match="corrupt zip"):
        list(opened("zip", bytes(data)))


def test_the_allowance_is_the_whole_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(streams, "MAX_EXPANSION", 10)
    bomb = zipped({f"{i}.txt": bytes(1 << 18) for i in range(20)})
    with pytest.raises(Refused, match="expands more than 10 times"):
        list(opened("zip", bomb))


def test_encrypted_members_are_refused() -> None:
    data = bytearray(zipped({"a.txt": b"secret"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + offset] |= 1
    (refused,) = opened("zip", bytes(data))
    assert isinstance(refused, Refused) and refused.reason == "encrypted" and refused.place == "a.txt"
