"""Repairs by example, and none where nothing is broken."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isoflop.text.clean import clean, joined, unbroken


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("text", ["Müller aß Käse für 5 €", "“Voilà”, dit-il — c’est l’été…", "naïve façade", "Привет"])
def test_text_read_in_the_wrong_encoding_is_mended(text: str, encoding: str) -> None:
    raw = text.encode()
    broken = "".join(raw[i : i + 1].decode(encoding, errors="ignore") or chr(raw[i]) for i in range(len(raw)))
    assert broken != text and unbroken(broken) == text


def test_text_broken_twice_is_mended_twice() -> None:
    assert unbroken("cafÃƒÂ©") == "café"


@pytest.mark.parametrize("text", ["café", "Ã is a letter", "ÂNGELA E JOÃO", "SÃO PAULO", "5 € — “quoted” …", "Привет"])
def test_sound_text_is_left_alone(text: str) -> None:
    assert clean(text) == (text, {})


def test_one_broken_line_among_sound_ones() -> None:
    assert clean("first: ok €\nsecond: cafÃ©\n") == ("first: ok €\nsecond: café\n", {"mojibake": 1})


def test_control_characters_go_and_line_ends_become_one() -> None:
    text, counts = clean("a\x00b\tc\r\nd\re\ufefff\x0cg")
    assert text == "ab\tc\nd\nef\x0cg"
    assert counts == {"line_ends": 2, "control_characters": 2}


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("an exam-\nple of it", "an example of it"),
        ("the exam-\n   ple", "the example"),
        ("a well-\nknown man, well-known", "a well-known man, well-known"),
        ("a well-\nknown man, wellknown and well-known", "a wellknown man, wellknown and well-known"),
        ("Jean-\nPaul and 1990-\n95 stay", "Jean-\nPaul and 1990-\n95 stay"),
        ("mother-in-\nlaw stays", "mother-in-\nlaw stays"),
    ],
)
def test_words_split_at_a_line_end(text: str, whole: str) -> None:
    assert joined(text)[0] == whole


@given(st.text())
@example("\u00c2\x1f\xa0")
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once, _ = clean(text)
    assert clean(once)[0] == once
