"""From files to a prepared text: what came in is accounted for, what was done is not done again, damage is named."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from isoflop.core.card import DataCard, load_card
from isoflop.core.errors import CorruptFileError, StudyError, TextError
from isoflop.core.files import claimed
from isoflop.fleet.local import Local
from isoflop.text import gather
from isoflop.text.gather import Source
from isoflop.text.pipeline import Recipe, refine_text
from isoflop.text.read import fingerprint, read
from isoflop.text.refine import Refinement
from toy import OBJECTS, SUBJECTS, VERBS, write_texts


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """60 good documents in files, two copies, a near-copy, one too short, one damaged file, and lines of json."""
    folder = write_texts(tmp_path / "texts")
    good = (folder / "000.txt").read_text()
    (folder / "copy.txt").write_text(good)
    (folder / "near.txt").write_text(good.replace("red boat", "green boat", 1) + " The end of it and of the day.")
    (folder / "short.txt").write_text("too short")
    (folder / "bad.txt.gz").write_bytes(b"no gzip at all")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    (folder / "lines.jsonl").write_text(json.dumps({"text": good}) + '\n{"nothing": 1}\n\n')
    return folder


def recipe(texts: Path, **changes: object) -> Recipe:
    given = {"refinement": Refinement(rules=("gopher-quality",)), "keeps_rejects": True} | changes
    return Recipe((Source("toy", (str(texts),)),), **given)  # type: ignore[arg-type]


def prepared(recipe: Recipe, out: Path, num_processes: int = 1) -> DataCard:
    return refine_text(recipe, out, executor=Local(num_processes), watts=2.0)


def rows(card: DataCard, out: Path) -> list[dict[str, str]]:
    return [row for shard in card.shards for row in pq.read_table(out / shard.file).to_pylist()]


def test_every_document_is_accounted_for(texts: Path, tmp_path: Path) -> None:
    card = prepared(recipe(texts), tmp_path / "out")
    tally = card.tally
    assert tally.num_read == 64 and sum(tally.sizes) == 64
    assert tally.dropped == {"exact_duplicate": 2, "near_duplicate": 1, "gopher_short": 1}
    assert tally.refused == {"corrupt": 1, "unknown_format": 1, "malformed_line": 1}
    assert card.num_documents == 60 == tally.num_read - tally.dropped.total()
    assert card.num_bytes == tally.bytes_read - sum(tally.dropped_bytes.values()) == tally.bytes_by_source["toy"]
    assert (card.num_clusters, card.clusters[0].num_documents) == (1, 4)
    assert card.clusters[0].kept == str(texts / "000.txt")
    assert any("bad.txt.gz: corrupt gz" in told for told in tally.refusals)
    assert load_card(tmp_path / "out") == card
    kept = rows(card, tmp_path / "out")
    assert {Path(row["file"]).name for row in kept} == {f"{i:03d}.txt" for i in range(60)}
    assert {row["source"] for row in kept} == {"toy"}


def test_rejects_are_kept_with_their_reasons(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared(recipe(texts), out)
    gone = [row for path in sorted(out.rglob("*-rejects.parquet")) for row in pq.read_table(path).to_pylist()]
    reasons = Counter((Path(row["file"]).name, row["reason"]) for row in gone)
    assert reasons == {
        ("short.txt", "gopher_short"): 1,
        ("copy.txt", "exact_duplicate"): 1,
        ("lines.jsonl", "exact_duplicate"): 1,
        ("near.txt", "near_duplicate"): 1,
        ("bad.txt.gz", "corrupt"): 1,
        ("photo.jpg", "unknown_format"): 1,
        ("lines.jsonl", "malformed_line"): 1,
    }
    prepared(recipe(texts, keeps_rejects=False), out)
    assert not list(out.rglob("*-rejects.parquet"))


def written(out: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "card.json"
    }


def test_the_same_again_does_nothing_and_a_new_file_its_own_part(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "_CUT", 8)  # pieces of about eight files
    out = tmp_path / "out"
    first = prepared(recipe(texts), out)
    before = written(out)
    assert len(first.shards) > 3
    assert prepared(recipe(texts), out) == first
    assert {name: time for name, time in written(out).items() if not name.endswith(".lock")} == {
        name: time for name, time in before.items() if not name.endswith(".lock")
    }
    (texts / "zzz.txt").write_text(
        " ".join(f"{s} {v} {o} and that is all." for s in SUBJECTS for v in VERBS for o in OBJECTS)
    )
    more = prepared(recipe(texts), out)
    assert more.num_documents == 61
    gathered = {name for name in before if "gather" in name and name.endswith(".parquet")}
    assert len(gathered & set(written(out))) >= len(gathered) - 2


def test_any_number_of_processes_gives_the_same_bytes(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (prepared(recipe(texts), tmp_path / str(n), num_processes=n) for n in (1, 2))
    assert one.shards == two.shards and one.tally == two.tally


def test_long_input_is_many_shards_of_one_piece(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"text": path.read_text()}) for path in sorted(texts.glob("0*.txt"))]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    whole = prepared(recipe(tmp_path / "all.jsonl"), tmp_path / "whole")
    monkeypatch.setattr(gather, "SHARD_BYTES", 50_000)
    parts = prepared(recipe(tmp_path / "all.jsonl"), tmp_path / "parts")
    assert len(whole.shards) == 1 and len(parts.shards) > 4
    assert rows(whole, tmp_path / "whole") == rows(parts, tmp_path / "parts")


def test_a_prepared_text_reads_as_its_shards(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    card = prepared(recipe(texts), out)
    reading = read([out])
    assert reading.fingerprint == fingerprint([out])
    assert {data.decode() for data in reading.documents} == {row["text"] for row in rows(card, out)}
    path = out / card.shards[0].file
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=path.name):
        read([out])
    path.unlink()
    with pytest.raises(CorruptFileError, match="missing"):
        read([out])


def test_what_holds_part_of_a_benchmark_is_dropped_and_told(texts: Path, tmp_path: Path) -> None:
    questions = [(texts / "010.txt").read_text()[100:300], "Which is the longest river on the continent, if any is?"]
    quiz = tmp_path / "quiz.v1.jsonl"
    quiz.write_text("\n".join(json.dumps({"question": question}) for question in questions))
    card = prepared(recipe(texts, against=(str(quiz),)), tmp_path / "out")
    assert card.benchmarks == {"quiz": 2} and card.tally.found == {"quiz": [0]}
    assert card.tally.dropped["benchmark_quiz"] >= 1
    names = {Path(row["file"]).name for row in rows(card, tmp_path / "out")}
    assert "010.txt" not in names and card.num_documents == 60 - card.tally.dropped["benchmark_quiz"]
    clean = prepared(recipe(texts), tmp_path / "out")
    assert clean.num_documents == 60 and not clean.benchmarks
    quiz.write_text("{}")
    with pytest.raises(TextError, match=r"quiz\.v1\.jsonl: a benchmark without any text"):
        prepared(recipe(texts, against=(str(quiz),)), tmp_path / "out")


def test_what_cannot_be_used_is_refused_and_leaves_no_card(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text(" ")
    with pytest.raises(TextError, match="no text found among 1 files"):
        prepared(recipe(tmp_path / "empty"), out)
    with pytest.raises(TextError, match="no rules named"):
        prepared(recipe(texts, refinement=Refinement(rules=("all",))), out)
    with pytest.raises(StudyError, match="no prepared text here"):
        load_card(out)


def test_two_at_once_are_refused(texts: Path, tmp_path: Path) -> None:
    with claimed(tmp_path / "out"), pytest.raises(StudyError, match="another isoflop works in this folder"):
        prepared(recipe(texts), tmp_path / "out")


def test_cards_of_another_version_are_refused(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared(recipe(texts), out)
    path = out / "card.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises((StudyError, CorruptFileError)):
        load_card(out)
    assert os.access(path, os.R_OK)
