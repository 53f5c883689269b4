from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.text.dedup.contamination import Benchmarks, contaminations, marks, write_benchmarks

PASSAGE = "The quick brown fox jumps over the lazy dog while the old cat looks on from 12 steps away, unmoved."
QUESTION = "Which planet is the largest of all?"
FILLER = "Some other words that come before and have nothing to do with it at all, whatever they may say here. "


@pytest.fixture
def benchmarks(tmp_path: Path) -> Benchmarks:
    return write_benchmarks(
        [("quiz", [b"unrelated", QUESTION.encode()]), ("reading", [PASSAGE.encode(), b""])], tmp_path
    )


def test_a_run_of_thirteen_words_is_found_whatever_its_dress(benchmarks: Benchmarks) -> None:
    hidden = FILLER + PASSAGE[10:-9].upper().replace(",", " -").replace("12", "37") + FILLER
    assert set(contaminations(hidden.encode(), benchmarks)) == {("reading", 0)}


def test_a_sentence_too_short_for_a_run_is_found(benchmarks: Benchmarks) -> None:
    hidden = f"{FILLER}Which planet is the LARGEST, of all? {FILLER}"
    assert set(contaminations(hidden.encode(), benchmarks)) == {("quiz", 1)}


def test_less_than_a_run_or_a_sentence_is_nothing(benchmarks: Benchmarks) -> None:
    twelve = " ".join(PASSAGE.split()[:12])
    for text in (FILLER + twelve + " " + FILLER, "Which planet is the largest?", "unrelated", ""):
        assert not contaminations(text.encode(), benchmarks)


def test_marks_are_runs_and_sentences() -> None:
    words = [f"w{chr(97 + i)}" for i in range(14)]
    assert len(marks(" ".join(words).encode())) == 2 + 1  # two runs of 13, and the whole as a sentence
    assert len(marks(b"One two three. Four five six seven eight nine. Ten.")) == 2  # the second sentence, and the whole


def test_no_benchmark_has_no_hit(tmp_path: Path) -> None:
    assert not contaminations(PASSAGE.encode(), write_benchmarks([("empty", [])], tmp_path))
