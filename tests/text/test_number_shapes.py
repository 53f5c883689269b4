"""A text without a shape has nothing of what the shape stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_pii import LABELLED

from isoflop.text.pii import redact
from isoflop.text.shapes import CARD, EMAIL, IBAN, IP4, IP6, KEY, PHONE, PLUS, SSN, shapes
from isoflop.text.texts import Texts


def shape(text: str) -> int:
    return int(shapes(Texts.of([text.encode()]))[0])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no numbers at all", 0),
        ("in 1984 and 2001, 3.14 or 12:30", 0),
        ("ping 10.0.0.1 now", IP4),
        ("version 1.2.3 and 1.2.3.4567", 0),
        ("at 2001:db8::1", IP6),
        ("from fe80::1 or 12:2a:b0", 0),
        ("4111 1111 1111 1111", CARD),
        ("4111111111111111", CARD),
        ("4111.1111.1111.1111", 0),
        ("078-05-1120", SSN),
        ("078-051-1120", PHONE),
        ("(212) 555-0123", PHONE),
        ("212.555.0123", PHONE),
        ("212, 555, 0123", 0),
        ("GB82 WEST 1234 5698 7654 32", IBAN | CARD),
        ("RFC2119 and ISO 9001", 0),
        ("ann@example.com", EMAIL),
        ("\u00fcber@x", EMAIL),
        ("@home, at @ and a@ b", 0),
        ("+1 2", PLUS),
        ("a + b", 0),
        ("sk-learn", KEY),
        ("task-learn, hf-x, asia", 0),
        ("(AKIA", KEY),
        ("AKI", 0),
    ],
)
def test_shapes_of_numbers(text: str, found: int) -> None:
    assert shape(text) == found


def test_documents_do_not_run_into_each_other() -> None:
    assert shapes(Texts.of([b"078", b"-05-1120", b"078-05-1120", b""])).tolist() == [0, 0, SSN, 0]


@pytest.mark.parametrize("line", LABELLED)
def test_nothing_is_missed_in_the_labelled_set(line: str) -> None:
    assert redact(line, shape(line)) == redact(line)


WORDS = "x@y.com ann .b% @ sk- hf_ AKIA IOSFODNN7EXAMPLE"
NUMBERS = "+ 12 123 4111 1111 192 8 078 05 1120 212 555 +1 2001 db8 GB82 WEST 12345698765432 1 a é"
PIECES = st.sampled_from([*WORDS.split(), *NUMBERS.split(), *".-(:/", "::", " ", ") ", "\n"])


@given(st.lists(PIECES, max_size=14))
def test_a_text_without_a_shape_has_nothing_to_redact(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert redact(text, shape(text)) == redact(text)
