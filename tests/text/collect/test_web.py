from __future__ import annotations

import gzip
from pathlib import Path

import pytest

pytest.importorskip("resiliparse")

from isoflop.text.collect.documents import documents
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.sources import find
from isoflop.text.collect.streams import Refused
from isoflop.text.collect.web import main_text

PAGE = """<html><head><title>T</title><script>var x = 1;</script></head><body>
<nav><a href="/">Home</a> <a href="/b">Products</a></nav>
<main><h1>On whales</h1><p>Call me Ishmael. Some years ago, never mind how long precisely, I went to sea.</p>
<p>It is a way I have of driving off the spleen and regulating the circulation.</p></main>
<footer>Copyright</footer></body></html>"""


def warc_of(*pages: str) -> bytes:
    records = []
    for i, page in enumerate(pages):
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page.encode()
        head = (
            "WARC/1.0\r\nWARC-Type: response\r\n"
            f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{i:012d}>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
            f"WARC-Target-URI: https://example.org/{i}\r\nContent-Type: application/http; msgtype=response\r\n"
            f"Content-Length: {len(http)}\r\n\r\n"
        )
        records.append(gzip.compress(head.encode() + http + b"\r\n\r\n"))
    return b"".join(records)


def found(path: Path) -> list[Raw | Refused]:
    return [item for file in find([path]) for item in documents(file)]


def test_the_text_of_a_page_is_what_a_reader_reads() -> None:
    text = main_text(PAGE.encode()).decode()
    assert "Call me Ishmael." in text and "driving off the spleen" in text
    assert "var x" not in text and "Products" not in text


def test_encodings_are_told_from_the_bytes() -> None:
    page = PAGE.replace("Ishmael", "Jürgen").replace("<head>", '<head><meta charset="iso-8859-1">')
    assert "Call me Jürgen." in main_text(page.encode("latin-1")).decode()


def test_pages_of_a_crawl_are_documents_by_their_address(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(warc_of(PAGE, PAGE.replace("Ishmael", "Ahab")))
    first, second = found(tmp_path / "a.warc.gz")
    assert isinstance(first, Raw) and first.place == "https://example.org/0" and b"Ishmael" in first.data
    assert isinstance(second, Raw) and second.place == "https://example.org/1" and b"Ahab" in second.data


@pytest.mark.parametrize("data", [b"", b"no crawl at all", warc_of(PAGE)[:60], gzip.compress(b"no crawl")])
def test_damaged_crawls_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.warc.gz").write_bytes(data)
    items = found(tmp_path / "a.warc.gz")
    assert isinstance(items[-1], Refused)


def test_a_page_that_is_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b"\x89PNG\0\0")
    (item,) = found(tmp_path / "a.html")
    assert isinstance(item, Refused) and item.reason == "binary"
