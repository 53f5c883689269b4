from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.text.sentences import sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Jones met Mr. J. R. Smith at 5 p.m. They left.", ["Dr. Jones met Mr. J. R. Smith at 5 p.m. They left."]),
        ("It was 3.14 or so. He said e.g. nothing.", ["It was 3.14 or so.", "He said e.g. nothing."]),
        ('"Stop!" "Why?" he asked. (Because.) Good.', ['"Stop!"', '"Why?" he asked.', "(Because.)", "Good."]),
        ("Wait... what? He left... The end.", ["Wait... what?", "He left...", "The end."]),
        ("Das gilt z.B. Kindern. Er kam um Nr. 5 usw. an.", ["Das gilt z.B. Kindern.", "Er kam um Nr. 5 usw. an."]),
        ("Really? yes. no.", ["Really?", "yes. no."]),
        ("M. Dupont arrive. Il part !", ["M. Dupont arrive.", "Il part !"]),
        ("¿Quién es? ¡Es él! El Sr. Ruiz.", ["¿Quién es?", "¡Es él!", "El Sr. Ruiz."]),
        ("今日は。元気？はい！", ["今日は。", "元気？", "はい！"]),
        ("A title\n\nand its text\non two lines. End", ["A title", "and its text\non two lines.", "End"]),
        ("www.example.org is up. yes.", ["www.example.org is up. yes."]),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_sentences_of_several_languages(text: str, parts: list[str]) -> None:
    assert list(sentences(text)) == parts


@given(st.text(alphabet="aB. !?\n。\"'é1", max_size=80))
def test_nothing_but_space_is_lost(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
