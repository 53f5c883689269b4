"""Recall and precision on a labelled set, and what each check refuses."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.text.pii import is_card, is_iban, is_public_address, redact

LABELLED = (Path(__file__).parent / "pii_labelled.txt").read_text().splitlines()
_MARK = re.compile(r"\[\[([A-Z]+):(.*?)\]\]")


def scores() -> dict[str, tuple[float, float]]:
    """Precision and recall by kind: a placeholder is right where the label stands."""
    right, found, there = Counter[str](), Counter[str](), Counter[str]()
    for line in LABELLED:
        wanted = _MARK.sub(r"<\1>", line)
        redacted, counts = redact(_MARK.sub(r"\2", line))
        labels = Counter(kind.lower() for kind, _ in _MARK.findall(line))
        there += labels
        found += counts
        right += labels & counts if redacted != wanted else labels
    return {kind: (right[kind] / max(found[kind], 1), right[kind] / there[kind]) for kind in there}


def test_precision_and_recall_on_the_labelled_set() -> None:
    for kind, (precision, recall) in scores().items():
        assert precision >= 0.95 and recall >= 0.9, kind


@pytest.mark.parametrize("line", LABELLED)
def test_every_line_reads_as_labelled(line: str) -> None:
    assert redact(_MARK.sub(r"\2", line))[0] == _MARK.sub(r"<\1>", line)


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp" + "_" + "a1B2" * 9,
        "github_pat" + "_" + "a" * 30,
        "xoxb" + "-123456789012-abcdefABCDEF",
        "AIza" + "x" * 35,
        "sk" + "-proj-" + "Ab1" * 10,
        "sk" + "_live_" + "9" * 24,
        "hf" + "_" + "Q" * 34,
        "eyJ" + "hbGciOiJI.eyJ" + "zdWIiOiIx." + "s" * 20,
        "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE " + "KEY-----",
    ],
)
def test_keys_and_tokens_go(secret: str) -> None:
    assert redact(f"token = '{secret}' # do not share") == ("token = '<KEY>' # do not share", {"key": 1})


@pytest.mark.parametrize(
    "text", ["sk-learn is not a key", "ghp_short", "the AKIAN coast", "hf_transfer", "eyJust.eyJust.no"]
)
def test_what_only_begins_like_a_key_stays(text: str) -> None:
    assert redact(text)[0] == text


def test_cards_have_a_network_and_a_check_digit() -> None:
    assert is_card("4111-1111-1111-1111")
    assert not is_card("4111-1111-1111-1112") and not is_card("9111111111111111")


def test_ibans_have_their_countrys_length_and_remainder() -> None:
    assert is_iban("GB82WEST12345698765432")
    assert not is_iban("GB82WEST1234569876543") and not is_iban("ZZ82WEST12345698765432")


def test_addresses_are_those_that_can_be_reached() -> None:
    assert is_public_address("8.8.8.8") and is_public_address("2001:4860:4860::8888")
    assert not any(map(is_public_address, ["192.168.0.1", "1.2.3.0", "a::b", "1:2:3"]))


@given(st.text())
def test_no_text_is_refused_and_none_is_redacted_twice(text: str) -> None:
    once, _ = redact(text)
    assert redact(once)[0] == once
