"""The compiled counts against the same counts by Python's string methods, and by hand."""

import re
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isoflop.text.quality.statistics import REPEATED_RUNS, STATISTICS, STOP_WORDS, TOP_RUNS, statistics
from isoflop.text.texts import Texts

WORDS = ["the", "of", "a", "word", "é", "ß", "中", "🙂", "'s"]
MARKS = ["...", ".", "…", "#", "- ", "• ", " ", "\n", "\n\n", "\r\n", "\u2028"]
texts = st.one_of(
    st.lists(st.sampled_from(WORDS + MARKS), max_size=60).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=60),
)


def is_symbol(character: str) -> bool:
    return unicodedata.category(character)[0] in "PSC"


def repeated(items: list[str]) -> tuple[int, int]:
    seen: set[str] = set()
    again = [item for item in items if item in seen or seen.add(item)]  # type: ignore[func-returns-value]
    return len(again), sum(map(len, again))


def top(words: list[str], n: int) -> int:
    runs = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    return max(((len(run) * count) for run, count in runs.most_common(1)), default=0)


def run_chars(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    chars, i = 0, 0
    while i < len(words) - n + 1:
        run = tuple(words[i : i + n])
        if run in seen:
            chars, i = chars + sum(map(len, run)), i + n
        else:
            seen.add(run)
            i += 1
    return chars


def expected(text: str, rule: str) -> dict[str, int]:
    words = text.split() if rule == "whitespace" else re.findall(r"\w+|[^\w\s]", text)
    worded = [word for word in words if not all(map(is_symbol, word))]
    lines, fed = text.splitlines(), text.split("\n")
    solid, paragraphs = re.split("\n+", text), re.split("\n{2,}", text.strip())
    by_line, by_paragraph = repeated(solid), repeated(paragraphs)
    return {
        "num_chars": len(text),
        "num_words": len(words),
        "num_worded": len(worded),
        "worded_chars": sum(map(len, worded)),
        "num_alphabetic": sum(any(map(str.isalpha, word)) for word in words),
        "num_stop_words": sum(word in STOP_WORDS for word in words),
        "num_hashes": text.count("#"),
        "num_ellipses": text.count("...") + text.count("…"),
        "num_lines": len(lines),
        "num_bulleted": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "num_trailing_off": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "num_newlines": text.count("\n"),
        "num_punctuated": sum(line.endswith((".", "'", '"', "!", "?")) for line in fed),
        "num_short": sum(len(line) <= 30 for line in fed),
        "num_solid_lines": len(solid),
        "num_repeated_lines": by_line[0],
        "repeated_line_chars": by_line[1],
        "repeated_nonblank_chars": repeated([line for line in solid if line.strip()])[1],
        "num_paragraphs": len(paragraphs),
        "num_repeated_paragraphs": by_paragraph[0],
        "repeated_paragraph_chars": by_paragraph[1],
        **{f"top_{n}": top(words, n) for n in TOP_RUNS},
        **{f"repeated_{n}": run_chars(words, n) for n in REPEATED_RUNS},
    }


def counted(text: str, rule: str) -> dict[str, int]:
    found = statistics(Texts.of([text.encode()]), rule)[0]  # type: ignore[arg-type]
    return {name: int(found[name]) for name in STATISTICS.names or ()}


@pytest.mark.parametrize("rule", ["whitespace", "parts"])
@settings(max_examples=300, deadline=None)
@example("")
@example("\n")
@example(" \n a")
@example("a\n\n \n\na")
@example("of the of the of the of the of the of the of the of the")
@example("so ... \nand. ..\n- x\r\n")
@given(texts)
def test_counts_are_those_of_pythons_strings(rule: str, text: str) -> None:
    assert counted(text, rule) == expected(text, rule)


def test_documents_do_not_touch_each_other() -> None:
    several = ["one two three.\n\nfour", "", "one two three.\n\nfour", "the the the the the"]
    together = statistics(Texts.of([text.encode() for text in several]))
    alone = np.concatenate([statistics(Texts.of([text.encode()])) for text in several])
    np.testing.assert_array_equal(together, alone)


def test_an_unknown_word_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="whitespace, parts"):
        statistics(Texts.of([b"a"]), "syllables")  # type: ignore[arg-type]
