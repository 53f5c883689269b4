from __future__ import annotations

import json
from pathlib import Path

import pytest

from isoflop.core.errors import BudgetError, TextError
from isoflop.core.products import FORMAT_VERSION
from isoflop.core.records import Record, Warned
from isoflop.stages.corpus import prepare
from isoflop.study import Given, Study
from toy import session, write_texts


def study_of(tmp_path: Path, *inputs: Path) -> Study:
    study = Study(tmp_path / "study")
    study.give(Given(FORMAT_VERSION, "isoflop run", [str(path) for path in inputs], "10min", 0, "world", 475.0))
    return study


def test_malformed_lines_are_skipped_counted_and_named(tmp_path: Path) -> None:
    texts = [path.read_text() for path in sorted(write_texts(tmp_path / "texts").iterdir())]
    lines = [json.dumps({"text": text}) for text in texts]
    lines[7] = lines[7][:40]
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(lines) + "\n")
    study, written = study_of(tmp_path, path), list[Record]()
    prepare(study, session(written.append, seconds_left=600.0))
    assert study.manifest.num_dropped["malformed_line"] == 1
    assert study.manifest.num_documents == len(texts) - 1
    told = [record.message for record in written if isinstance(record, Warned)]
    assert any(f"{path.name}: not JSON at line 8" in message for message in told)


def test_every_warning_of_the_corpus_is_recorded(tmp_path: Path) -> None:
    study, written = study_of(tmp_path, write_texts(tmp_path / "texts")), list[Record]()
    prepare(study, session(written.append, seconds_left=600.0))
    warned = [record.code for record in written if isinstance(record, Warned)]
    assert warned == [warning.code for warning in study.manifest.warnings]
    assert "vocab_size" in (study.folder / "study.toml").read_text()


def test_nothing_is_written_of_text_too_short(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("Hardly anything.")
    study = study_of(tmp_path, tmp_path / "short.txt")
    with pytest.raises(TextError, match="short"):
        prepare(study, session(lambda record: None, seconds_left=600.0))
    assert not study.corpus.exists()


def test_text_that_takes_half_the_budget_is_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path, write_texts(tmp_path / "texts"))
    with pytest.raises(BudgetError, match=r"half of the budget.* smallest budget"):
        prepare(study, session(lambda record: None, seconds_left=299.0))
    assert not (study.corpus / "manifest.json").exists()
    prepare(study, session(lambda record: None, seconds_left=301.0))
