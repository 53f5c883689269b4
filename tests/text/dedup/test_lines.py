from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.fleet.local import Local
from isoflop.text.dedup.lines import MIN_LINE_BYTES, cut_lines
from isoflop.text.receipts import Workshop
from isoflop.text.shards import Entry, Shelf, write_shard

LICENCE = "All rights reserved by the owner of this page."
FOOTER = "Follow us everywhere you can think of!"


def cut(folder: Path, shards: list[list[str]], least: int) -> tuple[list[list[str]], Counter[str], Counter[str]]:
    entries = [[Entry(text.encode(), "s", "f", "") for text in texts] for texts in shards]
    written = [write_shard(folder / "in", f"{i}.parquet", each) for i, each in enumerate(entries)]
    left, stages = cut_lines(
        [Shelf(folder / "in", shard) for shard in written], Workshop(folder, Local(1)), least=least
    )
    texts = [shelf.table()["text"].to_pylist() for shelf in left]
    return texts, stages[-1].tally.mended, stages[-1].tally.dropped


def expected(texts: list[str], least: int) -> list[str]:
    """The same in plain Python."""
    strip = " \n" + "".join(map(chr, range(32)))
    lines = Counter(line for text in texts for line in {each.strip(strip) for each in text.split("\n")})
    many = {line for line, count in lines.items() if count >= least and len(line.encode()) >= MIN_LINE_BYTES}
    result = []
    for text in texts:
        kept = [part for part in text.splitlines(keepends=True) if part.strip(strip) not in many]
        result.append("".join(kept))
    return [text for text in result if text.encode().strip()]


def test_lines_of_many_documents_go_and_the_rest_stays(tmp_path: Path) -> None:
    shards = [
        [f"One of a kind.\n  {LICENCE}\n\nAnd more.", f"{LICENCE}\n{LICENCE}\nother words"],
        [f"A third.\n{FOOTER}\n{LICENCE}", FOOTER, "Yes.\nYes.\nYes."],
        [LICENCE, "Yes."],
    ]
    texts, mended, dropped = cut(tmp_path, shards, least=3)
    assert texts == [
        ["One of a kind.\n\nAnd more.", "other words"],
        [f"A third.\n{FOOTER}\n", FOOTER, "Yes.\nYes.\nYes."],
        ["Yes."],
    ]
    assert mended == {"repeated_lines": 5} and dropped == {"repeated_lines_only": 1}


def test_a_line_twice_in_one_document_counts_once(tmp_path: Path) -> None:
    texts, _, _ = cut(tmp_path, [[f"{LICENCE}\n{LICENCE}", "other"]], least=2)
    assert texts == [[f"{LICENCE}\n{LICENCE}", "other"]]


def test_a_shard_of_nothing_else_is_gone(tmp_path: Path) -> None:
    texts, _, dropped = cut(tmp_path, [[LICENCE], [LICENCE, "more"]], least=2)
    assert texts == [["more"]] and dropped == {"repeated_lines_only": 2}


LINE = st.sampled_from([LICENCE, f" {LICENCE}\t", FOOTER, "short", "", "é" * 10, "é" * 9 + "x", "x" * 19, "y" * 20])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(LINE, min_size=1, max_size=5).map("\n".join), min_size=2, max_size=8), st.integers(2, 4))
def test_as_in_plain_python(tmp_path_factory: object, texts: list[str], least: int) -> None:
    folder = tmp_path_factory.mktemp("lines")  # type: ignore[attr-defined]
    found, _, _ = cut(folder, [texts[::2], texts[1::2]], least)
    assert sorted(text for shard in found for text in shard) == sorted(expected(texts, least))
