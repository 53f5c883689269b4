from __future__ import annotations

import pytest

from isoflop.core.errors import TextError
from isoflop.text.refine import Refinement, families, refine

PROSE = (
    "The old sailor had a dog that slept in the kitchen, and every morning it went with him to the harbour. They liked "
    "to watch the ships come home with their nets full of fish. One of those ships was his brother's, who would have "
    "been glad to take them out to sea; but the dog feared water, and the old man did not want to leave it behind."
)


def test_documents_are_mended_redacted_and_judged() -> None:
    batch = [
        PROSE.encode(),
        (PROSE + " cafÃ©\r\nwrite to ann@example.com").encode(),
        b"too short",
        b" \n",
        "\ufeff\x07".encode(),
        (PROSE + "\n" + "the same line of the text that we have seen\n" * 30).encode(),
    ]
    done = refine(batch, Refinement())
    found = done.documents
    assert [one.reason for one in found] == [
        None, None, "gopher_short", "empty", "empty", "repeated_lines",
    ]  # fmt: skip
    assert found[0].data.decode() == PROSE
    assert found[1].data.decode() == PROSE + " café\nwrite to <EMAIL>"
    assert done.mended == {"line_ends": 1, "mojibake": 1, "control_characters": 2}
    assert done.redacted == {"email": 1}


def test_nothing_is_judged_or_redacted_unless_asked() -> None:
    done = refine([b"ann@example.com", b" "], Refinement(rules=(), redacts=False))
    assert [(one.data, one.reason) for one in done.documents] == [(b"ann@example.com", None), (b" ", "empty")]
    assert not done.redacted


def test_a_whole_book_is_no_web_page_too_long() -> None:
    book = " ".join(f"{PROSE} {i} chapters of the book have {i * i} words." for i in range(2_000))
    (one,) = refine([book.encode()], Refinement(rules=("gopher-quality",))).documents
    assert len(book.split()) > 100_000 and one.reason is None


def test_lines_that_are_no_prose_are_cut_where_c4_is_asked_for() -> None:
    page = PROSE.replace(". ", ".\n").replace("; ", ".\n")
    done = refine([f"Home | Login\n{page}\nCookies".encode(), b"Home | Login"], Refinement(rules=("c4",)))
    assert [(one.data.decode(), one.reason) for one in done.documents] == [
        (page + "\n", None),
        ("", "c4_few_sentences"),
    ]
    assert done.mended == {"c4_lines": 3}


def test_unknown_rules_are_refused_with_the_known() -> None:
    with pytest.raises(TextError, match=r"no rules named 'gopher'. Use gopher-quality, gopher-repetition, fineweb, c4"):
        families(["gopher"])


def test_no_documents() -> None:
    assert refine([], Refinement()).documents == []
