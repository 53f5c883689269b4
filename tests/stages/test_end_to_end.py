"""One whole study of 70 seconds, looked at from all sides."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from isoflop.core.journal import read_records
from isoflop.core.ledger import spent_seconds
from isoflop.core.records import StageFinished, Step
from isoflop.report.numbers import significant
from isoflop.run import STAGES
from isoflop.study import Study
from toy import isoflop, write_texts

BUDGET = "70s"
KEYS = {
    "test_bits_per_byte",
    "predicted_bits_per_byte",
    "predicted_low",
    "predicted_high",
    "seconds",
    "budget_seconds",
    "pilot_fraction",
    "num_parameters",
    "tokens",
    "model_dir",
    "report",
    "sources",
    "budget_conversion",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("end-to-end")
    texts = write_texts(folder / "texts", num_files=300)  # a few epochs of less would bear no more than 3 s
    run = isoflop("run", texts, "--budget", BUDGET, "--out", folder / "study", "--json", timeout=400)
    assert run.returncode == 0, run.stderr
    return Study(folder / "study"), json.loads(run.stdout)


def test_one_json_object_says_what_came_out(finished: tuple[Study, dict[str, Any]]) -> None:
    study, facts = finished
    assert set(facts) >= KEYS
    assert facts["budget_seconds"] == 70.0
    assert facts["predicted_low"] < facts["predicted_bits_per_byte"] < facts["predicted_high"]
    assert 0 < facts["test_bits_per_byte"] < facts["unigram_bits_per_byte"] < 8
    assert 0 < facts["pilot_fraction"] < 1
    assert facts["model_dir"] == str(study.model)


def test_the_ledger_sums_to_the_seconds(finished: tuple[Study, dict[str, Any]]) -> None:
    study, facts = finished
    records = list(read_records(study.records))
    assert facts["seconds"] == pytest.approx(spent_seconds(records))
    first, last = records[0].time, records[-1].time
    assert spent_seconds(records) == pytest.approx(last - first, abs=15)  # the start lies before the first record


def test_every_stage_came_to_its_end(finished: tuple[Study, dict[str, Any]]) -> None:
    study, _ = finished
    ended = [s.record.stage for s in read_records(study.records) if isinstance(s.record, StageFinished)]
    assert ended == [stage.name for stage in STAGES]
    assert all(stage.done(study) for stage in STAGES[:-1])


def test_the_target_was_trained_to_its_end(finished: tuple[Study, dict[str, Any]]) -> None:
    study, facts = finished
    steps = [s.record for s in read_records(study.records) if isinstance(s.record, Step) and s.record.run == "target"]
    assert steps[-1].loss < steps[0].loss
    assert steps[-1].learning_rate == 0.0
    assert facts["tokens"] == steps[-1].tokens
    assert facts["num_parameters"] == study.plan.num_parameters.all


def test_the_report_is_one_file_that_asks_nobody(finished: tuple[Study, dict[str, Any]]) -> None:
    html = finished[0].report.read_text()
    assert "<html" in html and 'src="http' not in html and 'href="http' not in html


def test_the_card_carries_the_report_s_figures(finished: tuple[Study, dict[str, Any]]) -> None:
    study, facts = finished
    card = (study.model / "README.md").read_text()
    rows = dict(re.findall(r"^\| (.+?), [^|]+\|[^|]*\| (\S+)", card, flags=re.MULTILINE))
    assert rows["Test loss"] == f"{facts['test_bits_per_byte']:.3f}"
    assert rows["Tokens trained on"] == significant(facts["tokens"] / 1e6)
    assert rows["xz -9 on the same test documents"] == f"{facts['xz_bits_per_byte']:.3f}"
    assert rows["Unigrams on the same test documents"] == f"{facts['unigram_bits_per_byte']:.3f}"
    assert 0 < float(rows["Time"]) <= facts["seconds"] + 1
    assert 0 < float(rows["Energy"]) * 3.6e6 <= 1.01 * facts["joules"]
    assert "Emissions" in rows and "Training FLOPs" in rows
    told = re.findall(r"^- `(\w+)`: ", card, flags=re.MULTILINE)
    assert told == [warning["code"] for warning in facts["warnings"]] != []


def test_the_model_opens_in_transformers(finished: tuple[Study, dict[str, Any]]) -> None:
    transformers = pytest.importorskip("transformers")
    study, facts = finished
    model = transformers.AutoModelForCausalLM.from_pretrained(study.model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(study.model)
    assert model.num_parameters() == facts["num_parameters"]
    ids = tokenizer("The senator praised", return_tensors="pt").input_ids
    loss = model(input_ids=ids, labels=ids).loss
    assert 0 < loss.item() < 12


def test_plan_answers_for_more(finished: tuple[Study, dict[str, Any]]) -> None:
    study, facts = finished
    before = sorted(path.name for path in study.folder.iterdir())
    run = isoflop("plan", study.folder, "--budget", "8h", "--json")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["budget_seconds"] == 8 * 3600
    assert answer["chosen"]["bits_per_byte"]["central"] <= facts["predicted_bits_per_byte"]
    assert sorted(path.name for path in study.folder.iterdir()) == before
    told = isoflop("plan", study.folder, "--budget", "2h")
    assert told.returncode == 0 and told.stdout.strip()


def test_plan_refuses_a_budget_too_small(finished: tuple[Study, dict[str, Any]]) -> None:
    run = isoflop("plan", finished[0].folder, "--budget", "1s")
    assert run.returncode == 2 and run.stderr.count("\n") == 1


def test_generate_goes_on_with_a_text_and_can_be_repeated(finished: tuple[Study, dict[str, Any]]) -> None:
    arguments = ("generate", finished[0].folder, "The captain", "--max-new-tokens", 20, "--seed", 4, "--json")
    one, other = (isoflop(*arguments) for _ in range(2))
    assert one.returncode == 0, one.stderr
    assert json.loads(one.stdout) == json.loads(other.stdout)
    assert json.loads(one.stdout)["text"].strip()


def test_report_tells_the_same_facts(finished: tuple[Study, dict[str, Any]]) -> None:
    study, facts = finished
    run = isoflop("report", study.folder, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == facts


def test_resuming_a_finished_study_changes_neither_plan_nor_model(finished: tuple[Study, dict[str, Any]]) -> None:
    study, facts = finished
    kept = [study.folder / "plan.json", study.model / "model.safetensors"]
    before = [path.read_bytes() for path in kept]
    run = isoflop("resume", study.folder, "--json")
    assert run.returncode == 0, run.stderr
    assert [path.read_bytes() for path in kept] == before
    assert json.loads(run.stdout)["test_bits_per_byte"] == facts["test_bits_per_byte"]
