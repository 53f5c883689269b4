from __future__ import annotations

import random
import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.core.errors import TextError
from isoflop.text.document import Documents
from isoflop.text.split import Partition, cut_sections, split

WORDS = [f"w{i:x}" for i in range(300)]


def prose(num: int, seed: int, *, blank: str = "\n\n") -> bytes:
    """About ``num`` bytes of words in paragraphs."""
    generator = random.Random(seed)
    words = generator.choices(WORDS, k=num // 4)
    return "".join(word + (blank if i % 60 == 59 else " ") for i, word in enumerate(words)).encode()[:num]


def documents(sizes: list[int]) -> Documents:
    return Documents.of([prose(size, seed) for seed, size in enumerate(sizes)])


def texts_of(partition: Partition) -> list[list[bytes]]:
    return [list(part) for part in (partition.train, partition.val, partition.test)]


def held_out(partition: Partition) -> tuple[int, int]:
    return partition.val.num_bytes, partition.test.num_bytes


def test_every_document_lands_in_exactly_one_split() -> None:
    given_documents = documents([3_000 + 50 * i for i in range(80)])
    partition = split(given_documents)
    assert sorted(chain(*texts_of(partition))) == sorted(given_documents)
    assert partition.warnings == []
    total = given_documents.num_bytes
    for size in held_out(partition):
        assert 0.03 * total < size < 0.1 * total
    assert min(len(partition.val), len(partition.test)) >= 4


def test_the_result_depends_on_content_and_seed_not_on_order() -> None:
    given_documents = documents([4_000] * 60)
    first = split(given_documents, seed=1)
    assert texts_of(split(given_documents.take(np.arange(60)[::-1]), seed=1)) == texts_of(first)
    for part, other in zip(texts_of(first), texts_of(split(given_documents, seed=2)), strict=True):
        assert part != other


def test_huge_documents_always_train() -> None:
    sizes = [20_000] * 70 + [1_000_000]
    partition = split(documents(sizes))
    assert max(*partition.val.sizes, *partition.test.sizes) == 20_000
    assert [warning.code for warning in partition.warnings] == ["heldout_unlike_train"]
    assert "1 documents, 42% of the text" in partition.warnings[0].message


def test_large_even_documents_may_exceed_the_wanted_share() -> None:
    partition = split(documents([20_000] * 70))
    assert len(partition.val) == len(partition.test) == 4
    assert partition.warnings == []


def test_one_big_file_is_cut_into_sections() -> None:
    text = prose(600_000, seed=0)
    partition = split(Documents.of([text]))
    assert [warning.code for warning in partition.warnings] == ["sections_as_documents"]
    sections = list(chain(*texts_of(partition)))
    assert sum(map(len, sections)) == len(text)
    assert min(map(len, sections)) >= 4_000
    assert all(size >= 20_000 for size in held_out(partition))
    assert min(len(partition.val), len(partition.test)) >= 7


def test_equal_sections_are_dropped_and_counted() -> None:
    half = prose(300_000, seed=0).rstrip() + b"\n\n"
    partition = split(Documents.of([half, b"x\n\n" + half, b"A line.\n\n" * 20_000]))
    assert partition.num_dropped["duplicate"] > 10
    kept = list(chain(*texts_of(partition)))
    assert len(set(kept)) == len(kept)


@pytest.mark.parametrize("blank", ["\n", " "])
def test_text_without_blank_lines_or_without_lines_is_still_split(blank: str) -> None:
    partition = split(Documents.of([prose(400_000, seed=0, blank=blank)]))
    assert all(size >= 10_000 for size in held_out(partition))


@pytest.mark.parametrize("data", [prose(40_000, seed=0), b"x" * 200_000, b"same line\n\n" * 30_000])
def test_text_too_short_to_split_is_refused(data: bytes) -> None:
    with pytest.raises(TextError, match=r"too short to split: [\d,]+ distinct bytes .* at least 50,000 bytes"):
        split(Documents.of([data]))


def test_validation_and_test_are_alike() -> None:
    """Half the documents are hard: a random draw of 8 pairs would often differ by a quarter in hardness."""
    generator = np.random.default_rng(0)
    hard = [generator.integers(97, 123, size=5_000, dtype=np.uint8).tobytes() for _ in range(60)]
    partition = split(Documents.of([*hard, *documents([5_000] * 60)]))
    hard_counts = [sum(text in hard for text in part) for part in (partition.val, partition.test)]
    assert abs(hard_counts[0] - hard_counts[1]) <= 1
    assert hard_counts[0] == pytest.approx(len(partition.val) / 2, abs=1)


@given(st.text(alphabet="ab \n\u00e9", max_size=600), st.integers(1, 50))
@settings(max_examples=200)
def test_sections_join_to_the_text_and_are_valid_and_long(text: str, min_bytes: int) -> None:
    data = text.encode()
    sections = cut_sections(data, min_bytes)
    assert b"".join(sections) == data
    assert all(len(section) >= min_bytes for section in sections[:-1])
    assert len(sections) == 1 or len(sections[-1]) >= min_bytes
    for section in sections:
        section.decode()


def test_sections_are_cut_at_blank_lines_where_there_are_any() -> None:
    sections = cut_sections(prose(50_000, seed=3), 4_000)
    assert len(sections) > 8
    assert all(re.search(rb"\n\s*\n$", section) for section in sections[:-1])


def test_a_long_blob_without_spaces_does_not_end_the_cutting() -> None:
    before, after = prose(40_000, seed=1), prose(40_000, seed=2)
    data = before + b"x" * 80_000 + b"\n\n" + after
    sections = cut_sections(data, 4_000)
    assert b"".join(sections) == data
    assert sorted(len(section) for section in sections)[-2] < 10_000
