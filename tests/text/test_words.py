"""Words are those of tokenizers, whatever the text."""

from __future__ import annotations

import unicodedata
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from isoflop.text.texts import Texts
from isoflop.text.words import Words, classes, count_words, joined

SPLIT = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
PIECES = [
    *"abcxyz",
    *"AÉß\u4f60\u0928\u094d\u01c5",
    *"0\u0661\u00b2\u2160",
    *" \n\t\r\v\u00a0\u2028\x85\u3000",
    *"'.,-_\x1c\u200b\ufeff",
]
PIECES += [
    "'s",
    "'re",
    "'ll",
    "'LL",
    "  ",
    " a",
    "\U0001f600",
    "\U00020000",
    "\U0001d400",
    "\U000e0100",
    "<|endoftext|>",
]
TEXTS = st.lists(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join), max_size=6)


def words_of(texts: list[str]) -> Counter[str]:
    return Counter(text[start:end] for text in texts for _, (start, end) in SPLIT.pre_tokenize_str(text) if end > start)


def counted(words: Words) -> Counter[str]:
    """Which it finds twice where a word is told twice."""
    found = list(zip(map(bytes.decode, words.texts), words.counts.tolist(), strict=True))
    assert len(dict(found)) == len(found)
    return Counter(dict(found))


def of(texts: list[str]) -> Words:
    return count_words(Texts.of([text.encode() for text in texts]))


@settings(deadline=None)
@given(TEXTS)
def test_words_are_those_of_tokenizers(texts: list[str]) -> None:
    known = [text for text in texts if all(unicodedata.category(character) != "Cn" for character in text)]
    assert counted(of(known)) == words_of(known)
    assert counted(joined([of(known[::2]), of([]), of(known[1::2])])) == words_of(known)


def test_of_no_texts_there_are_no_words() -> None:
    assert not counted(joined([]))


def test_every_character_of_the_interpreter_is_of_the_class_that_tokenizers_gives_it() -> None:
    kinds = {(1, 2, 2): 0, (2, 1, 2): 1, (2, 2, 2): 2, (2, 2, 1): 3}
    table = classes()
    codes = [code for code in range(0, len(table), 7) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    for code in [*range(0x300), *codes]:
        joined = tuple(len(SPLIT.pre_tokenize_str(before + chr(code))) for before in "a1!")
        assert table[code] == kinds[joined], hex(code)
