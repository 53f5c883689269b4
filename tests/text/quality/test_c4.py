"""C4's rules, by hand, and against the same rules in Python's own strings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.text.quality.c4 import PHRASES, prose

FIRST = "The harbour lay still that morning."
SECOND = "Nobody there spoke of the storm!"
THIRD = "\u201cWhen will they ever come home?\u201d"
PAGE = "\n".join([FIRST, SECOND, "", THIRD])


def left(text: str) -> tuple[str, str | None]:
    found = prose([text.encode()])
    return found.documents[0].decode(), found.reasons[0]


def test_prose_stays_as_it_is() -> None:
    assert left(PAGE) == (PAGE, None)


def test_lines_that_are_no_sentences_go() -> None:
    others = [
        "Home | News | Weather | About us",
        "Too short a line.",
        "And then he turned around and...",
        "And then he turned around and\u2026",
        "Please enable JavaScript to see this page.",
        "We have a Privacy Policy that you accept.",
        "By reading on you allow us to use cookies.",
    ]
    found = prose(["\n".join([FIRST, *others, SECOND, "", THIRD]).encode()])
    assert found.documents == [PAGE.encode()] and found.num_cut == len(others) and found.reasons == [None]


def test_pages_of_too_little_or_of_code_go() -> None:
    assert left(f"{FIRST}\n{SECOND}")[1] == "c4_few_sentences"
    assert left("Home | Login") == ("", "c4_few_sentences")
    assert left(" \n") == (" \n", None)
    assert left(PAGE + "\nif (x) { return; }")[1] == "c4_brace"
    assert left(PAGE + "\nLorem ipsum dolor sit amet.")[1] == "c4_lorem_ipsum"


def test_marks_of_citations_go() -> None:
    assert left(PAGE.replace("morning.", "morning[12][citation needed]."))[0] == PAGE
    assert "[sic]" in left(PAGE.replace("morning.", "morning [sic]."))[0]


def is_prose(line: str) -> bool:
    line = line.strip(" \t")
    if not line:
        return True
    ends = line.endswith((".", "!", "?", '"', "'", "\u2019", "\u201d")) and not line.endswith("...")
    return ends and len(line.split()) >= 5 and not any(phrase.decode() in line.lower() for phrase in PHRASES)


PARTS = st.sampled_from(
    ["a", "word", " ", "  ", "\t", "\n", "\n\n", ".", "...", "\u2026", "!", '"', "\u201d", "\u2019", "\u00e9",
     " use of cookies", "JAVAscript", " Terms of use ", "use", " cookies", "one two three four five."]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PARTS, max_size=40).map("".join), max_size=3))
def test_lines_are_those_of_plain_python(texts: list[str]) -> None:
    found = prose([text.encode() for text in texts])
    kept = [[line for line in text.split("\n") if is_prose(line)] for text in texts]
    whole = [text.split("\n") for text in texts]
    assert [data.decode().replace("\n", "") for data in found.documents] == ["".join(lines) for lines in kept]
    assert found.num_cut == sum(map(len, whole)) - sum(map(len, kept))
