"""The report's arithmetic against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import START, machine, matmul, plan, write_records, write_study

from isoflop.core.errors import CorruptFileError, StudyError
from isoflop.core.journal import Stamped
from isoflop.core.products import Interval, StudyWarning
from isoflop.core.records import Evaluation, Monitor, RolledBack, RunStarted, Spent, Step
from isoflop.report import view
from isoflop.report.view import Comparison


def stamped(*records: object) -> list[Stamped]:
    return [Stamped(START + i, record) for i, record in enumerate(records)]  # type: ignore[arg-type]


def step(number: int, loss: float = 4.0) -> Step:
    return Step("target", number, number * 100, 1.0, loss, 0.1, 1.0, 0.0, 1000.0 + number, 1e9)


def started(from_step: int) -> RunStarted:
    return RunStarted("target", "target", 4, 128, 10, 8, 9, 100, 50, 0.1, 0, 2, "float32", False, from_step)


def study_of(*records: object) -> view.Study:
    return view.Study(
        Path("x"), {"price_per_hour": 0.4, "grams_co2e_per_kwh": 56.0}, {}, None, None, None, None, stamped(*records)
    )


def test_ledger_groups_by_stage_in_order_and_sums_to_the_whole() -> None:
    rows = view.ledger(
        stamped(Spent("train", "a", 1.5), Spent("law", "b", 2.0), Spent("train", "c", 4.0), Spent("train", "a", 0.5))
    )
    assert [(row.stage, row.activity, row.seconds) for row in rows] == [
        ("train", "a", 2.0),
        ("train", "c", 4.0),
        ("law", "b", 2.0),
    ]
    assert view.spent_seconds(rows) == 8.0
    assert view.spent_seconds(rows, ["law"]) == 2.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.floats(0, 1e6)), max_size=30))
def test_ledger_loses_no_second(spent: list[tuple[str, str, float]]) -> None:
    rows = view.ledger(stamped(*(Spent(*item) for item in spent)))
    assert math.isclose(view.spent_seconds(rows), math.fsum(item[2] for item in spent), rel_tol=1e-9)
    assert len({(row.stage, row.activity) for row in rows}) == len(rows)


def test_costs_of_an_hour_at_100_watts() -> None:
    sample = Monitor("train", 0.9, 1.0, 5, 1800.0, 90_000.0, 180_000.0, 360_000.0)
    joules, dollars, grams = view.happened_costs(study_of(sample, sample, Spent("train", "a", 3600.0)))
    assert joules == Interval(360_000.0, 180_000.0, 720_000.0)
    assert dollars == Interval(0.4, 0.4, 0.4)
    assert grams is not None
    assert grams.central == pytest.approx(5.6)  # 0.1 kWh at 56 g/kWh


def test_no_energy_and_no_cost_without_records() -> None:
    assert view.happened_costs(study_of()) == (None, None, None)


def test_comparison_judges_only_intervals_with_width() -> None:
    promised = Interval(2.0, 1.9, 2.1)
    assert Comparison("q", "u", promised, view.exact(2.05)).inside is True
    assert Comparison("q", "u", promised, view.exact(2.2)).inside is False
    assert Comparison("q", "u", promised, None).inside is None
    assert Comparison("q", "u", view.exact(2.0), view.exact(2.2)).inside is None
    assert Comparison("q", "u", view.exact(2.0), view.exact(2.2)).error == pytest.approx(0.1)


def test_comparisons_of_a_finished_study(study_dir: Path) -> None:
    rows = {row.quantity: row for row in view.comparisons(view.load(study_dir))}
    assert list(rows) == list(view.UNITS)
    assert rows["Test loss"].happened == Interval(1.712, 1.684, 1.741)
    assert rows["Time"].happened == view.exact(598.0)
    assert rows["Cost"].happened == view.exact(0.4 * 598 / 3600)
    assert rows["Peak memory"].happened == view.exact(0.56)
    tokens, flops = rows["Tokens trained on"].happened, rows["Training FLOPs"].happened
    assert tokens is not None and flops is not None
    assert flops.central == pytest.approx(tokens.central * 6.9 * matmul(4, 128) / 1e6)
    assert rows["Training FLOPs"].predicted == view.exact(35.0)
    assert rows["Energy"].predicted is not None
    assert rows["Energy"].predicted.central == pytest.approx(5600 / 3.6e6)


def test_steps_that_a_resume_trained_again_are_told_once() -> None:
    study = study_of(started(0), step(10), step(20), step(30, 9.0), started(20), step(30, 3.0), step(40))
    assert [(s.step, s.loss) for s in view.target_records(study, Step)] == [(10, 4.0), (20, 4.0), (30, 3.0), (40, 4.0)]
    assert view.tokens(study) == 4000
    assert view.speed(study) == 1030.0  # upper median of 1010, 1020, 1030, 1040


def test_steps_that_were_taken_back_are_told_once() -> None:
    back = RolledBack("target", 30, 10, "nan", [12], 4.0)
    study = study_of(started(0), step(10), step(20, loss=9.0), back, step(20, loss=3.0))
    assert [(one.step, one.loss) for one in study.of_run(Step, "target")] == [(10, 4.0), (20, 3.0)]


def test_validation_ignores_other_splits_and_runs() -> None:
    def evaluated(run: str, split: str, loss: float) -> Evaluation:
        return Evaluation(run, split, 5, 500, loss, 1.0, 10, 0.1)

    study = study_of(
        started(0), evaluated("target", "val", 4.5), evaluated("target", "train", 4.0), evaluated("p1", "val", 5.0)
    )
    assert view.final_loss(study) == 4.5


def test_purchases_put_this_budget_among_the_others() -> None:
    bought = view.purchases(plan(), 600.0)
    assert [purchase.factor for purchase in bought] == [0.5, 1.0, 2.0, 10.0]
    assert bought[1].bits_per_byte == plan().forecast.bits_per_byte


def test_warnings_of_all_stages_each_once(study_dir: Path) -> None:
    study = view.load(study_dir)
    doubled = view.Study(**{**vars(study), "records": study.records * 2})
    assert [warning.code for warning in view.warnings(doubled)] == [
        "small_corpus",
        "exponents_from_prior",
        "noisy_machine",
    ]
    assert isinstance(view.warnings(study)[0], StudyWarning)


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no study\.toml"):
        view.load(tmp_path)


@pytest.mark.parametrize("name", ["study.toml", "law.json", "plan.json", "corpus/manifest.json", "machine.json"])
def test_a_damaged_file_is_named(study_dir: Path, name: str) -> None:
    path = study_dir / name
    path.write_text(path.read_text()[:-20] + "]")
    with pytest.raises(CorruptFileError, match=path.name.replace(".", r"\.")):
        view.load(study_dir)


def test_a_field_of_the_wrong_kind_is_named(study_dir: Path) -> None:
    path = study_dir / "machine.json"
    path.write_text(path.read_text().replace('"num_cores": 2', '"num_cores": "two"'))
    with pytest.raises(CorruptFileError, match="num_cores"):
        view.load(study_dir)


def test_a_torn_last_record_is_ignored(tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    write_records(folder / "records.jsonl", [Spent("train", "a", 2.0), Spent("train", "a", 3.0)])
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    study = view.load(folder)
    assert view.spent_seconds(view.ledger(study.records)) == 2.0
    assert study.machine == machine()
