"""Pages of the web: what a reader would read of them, by resiliparse, from ``.html`` files and ``.warc`` archives."""

from __future__ import annotations

from typing import IO

from isoflop.core.extras import needs
from isoflop.text.collect.formats import MAX_RECORD_BYTES, Found, Raw, bounded, refuse_binary
from isoflop.text.collect.streams import Blocks, Refused


def page(blocks: Blocks, field: str | None = None) -> Found:
    """An HTML file as one document."""
    data = bounded(blocks)
    refuse_binary(data, 0)
    yield Raw(main_text(data))


def warc(stream: IO[bytes], field: str | None = None) -> Found:
    """The HTML pages among the responses of a crawl (ISO 28500), each by its address; compressed or not.

    Needs a stream that can seek.
    """
    with needs("web"):
        from fastwarc.warc import ArchiveIterator, WarcRecordType
    count = 0
    try:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response, fsspec_args=False):
            count += 1
            kind = record.http_content_type or ""
            if "html" in kind:
                data = record.reader.read(MAX_RECORD_BYTES)
                yield Raw(main_text(data), record.headers.get("WARC-Target-URI") or f"record {count}")
    except (OSError, ValueError) as error:
        raise Refused("corrupt", f"corrupt warc ({error})", place=f"record {count + 1}") from error
    if not count:
        raise Refused("corrupt", "corrupt warc (no response in it)")


def main_text(html: bytes) -> bytes:
    """The text of a page without navigation, scripts and forms, as UTF-8; its encoding is told from its bytes."""
    with needs("web"):
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    decoded = bytes_to_str(html, detect_encoding(html) or "utf-8")
    text: str = extract_plain_text(decoded, main_content=True, alt_texts=False)
    return text.encode(errors="ignore")
