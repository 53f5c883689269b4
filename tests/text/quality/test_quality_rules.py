"""The rules on texts that break one each, and the order of reasons."""

import re

import pytest

from isoflop.text.quality.rules import FineWeb, GopherQuality, GopherRepetition, Rules, reasons
from isoflop.text.quality.statistics import statistics
from isoflop.text.texts import Texts

GOOD = """The harbour lay still that morning, and the fishermen had been awake for hours before the light reached them.
Nobody spoke of the storm, though all of them remembered where each boat stood when it began.

Anna walked down to the pier with her brother. She carried a basket of bread; he held the letter they were to deliver
to the captain of the Marigold, an old friend of their mother who seldom answered anything in writing.

When they reached his cabin he was mending a net. He read slowly, folded the paper twice and asked how long the journey
from the hills took in winter. Two days, said Anna, if the bridge holds, and four if it does not.

So be it, the captain replied. Tell her I will come with the first thaw, that I have kept what she gave me, and to leave
a lamp in the upper window. Then he turned back to his work, and neither child dared to ask what it was."""


FIRST, *OTHERS = GOOD.split("\n\n")
LINES = GOOD.splitlines()


def reason(text: str, *families: Rules) -> str | None:
    found: str | None = reasons(families, statistics(Texts.of([text.encode()])))[0]
    return found


def test_good_text_passes_all() -> None:
    flowing = re.sub(r"(?<!\n)\n(?!\n)", " ", GOOD)  # FineWeb wants lines that end where sentences do
    assert reason(flowing, GopherQuality(), GopherRepetition(), FineWeb()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat sat with that dog.", "gopher_short"),
        ("", "gopher_short"),
        ("the of a to " * 60, "gopher_short_words"),
        ("internationalisation characteristically be to " * 60, "gopher_long_words"),
        (GOOD.replace("the ", "# the # "), "gopher_hashes"),
        (GOOD.replace(" the ", " ... the ").replace(" and ", " … and "), "gopher_ellipses"),
        ("\n".join(f"- {line}" for line in GOOD.splitlines() if line), "gopher_bullets"),
        ("\n".join(f"{line}..." if i % 2 else line for i, line in enumerate(GOOD.splitlines())), "gopher_trailing_off"),
        (GOOD.replace(" the ", " 1234 5678 901 "), "gopher_few_letters"),
        (re.sub(r"\b(the|be|to|of|and|that|have|with)\b", "dieser", GOOD), "gopher_stop_words"),
    ],
)
def test_gophers_quality(text: str, expected: str) -> None:
    assert reason(text, GopherQuality()) == expected


def test_too_long() -> None:
    assert reason("\n".join([GOOD] * 3), GopherQuality(max_words=300)) == "gopher_long"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\n".join([FIRST] * 3), "repeated_paragraphs"),
        ("\n\n".join([FIRST, *OTHERS, OTHERS[-1]]), "repeated_paragraph_chars"),
        ("\n".join(["one line", *LINES, *["one line"] * 8]), "repeated_lines"),
        ("\n".join([*LINES, *[LINES[0]] * 3]), "repeated_line_chars"),
        ("so it goes " * 100, "repeated_top_2"),
    ],
)
def test_gophers_repetition(text: str, expected: str) -> None:
    assert reason(text, GopherRepetition()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace(".", ",,"), "fineweb_unpunctuated"),
        (GOOD.replace(", ", ".\n").replace(" and ", ".\n").replace(" the ", ".\n"), "fineweb_short_lines"),
        (
            re.sub(r"(?<!\n)\n(?!\n)", " ", GOOD) + "\n\n" + re.sub("\n", " ", FIRST),
            "fineweb_repeated_lines",
        ),
        ("\n".join(f"{chr(97 + i) * 15} {chr(98 + i) * 15}." for i in range(20)), "fineweb_list"),
    ],
)
def test_fineweb(text: str, expected: str) -> None:
    assert reason(text, FineWeb()) == expected


def test_the_first_reason_is_kept() -> None:
    assert reason("the of a to " * 60, GopherRepetition(), GopherQuality()) == "repeated_top_2"
    assert reason("the of a to " * 60, GopherQuality(), GopherRepetition()) == "gopher_short_words"
