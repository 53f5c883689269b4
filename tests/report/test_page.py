from __future__ import annotations

import dataclasses
import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from synthetic import machine, plan, write_records

from isoflop.core import codec
from isoflop.core.errors import StudyError
from isoflop.core.files import write_json
from isoflop.core.products import Interval
from isoflop.core.records import Sampled, Scored, Warned
from isoflop.law.forms import form_of
from isoflop.report import build_report
from isoflop.report.evidence import decisions
from isoflop.report.sections import MEANINGS
from isoflop.report.story import diminishing_returns, headline_sentence, size_finding
from isoflop.report.view import load, purchases


def without_scripts(text: str) -> str:
    return re.sub(r"<script.*?</script>", "", text, flags=re.S)


def test_the_report_is_one_file_that_loads_nothing(study_dir: Path) -> None:
    path = build_report(study_dir)
    text = path.read_text()
    own = without_scripts(text)
    assert path == study_dir / "report.html"
    assert path.stat().st_size < 1_500_000
    assert not re.search(r'(?:src|href)="(?!#)|@import|url\(', own)
    assert text.count("window.vegaEmbed") == 1
    anchors = re.findall(r'<section id="([^"]+)"', own)
    assert len(anchors) == 11
    assert set(re.findall(r'href="#([^"]+)"', own)) == set(anchors)
    assert own.count("<figure>") == 12


def test_what_the_model_says_cannot_become_part_of_the_page(study_dir: Path) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    records = [stamped.record for stamped in load(study_dir).records]
    write_records(study_dir / "records.jsonl", [*records, Sampled(attack, attack + " and more")])
    text = build_report(study_dir).read_text()
    assert "<script>alert" not in text
    assert "<img" not in without_scripts(text)
    assert "&lt;img src=x onerror=alert(1)&gt;</b> and more" in text


def test_a_file_name_that_is_no_unicode_is_told(study_dir: Path) -> None:
    name = b"caf\xe9.txt".decode(errors="surrogateescape")
    records = [stamped.record for stamped in load(study_dir).records]
    write_records(study_dir / "records.jsonl", [*records, Warned("prepare", "undecodable_file", f"{name} is no text")])
    assert "caf?.txt is no text" in build_report(study_dir).read_text()


def test_a_sample_written_again_after_a_kill_is_told_once(study_dir: Path) -> None:
    records = [stamped.record for stamped in load(study_dir).records]
    write_records(study_dir / "records.jsonl", [*records, Sampled("My fellow citizens", " of the last try")])
    text = build_report(study_dir).read_text()
    assert text.count("<b>My fellow citizens</b>") == 1
    assert "<b>My fellow citizens</b> of the last try" in text


def machine_with(study_dir: Path, **changes: Any) -> None:
    write_json(study_dir / "machine.json", codec.encode(dataclasses.replace(machine(), **changes)))


@pytest.mark.parametrize("method", ["model", "rapl"])
def test_joules_are_called_modelled_however_the_watts_are_known(study_dir: Path, method: str) -> None:
    machine_with(study_dir, power=dataclasses.replace(machine().power, method=method, source="a source"))
    text = build_report(study_dir).read_text()
    assert "itself modelled: core-seconds times watts (a source)." in text
    assert "GPU" not in without_scripts(text)


def test_what_is_known_of_a_gpus_energy_is_told(study_dir: Path) -> None:
    machine_with(study_dir, device="cuda")
    assert "The GPU's is not counted: nothing here reads its counter." in html.unescape(
        build_report(study_dir).read_text()
    )
    watts = Interval(600.0, 570.0, 630.0)
    machine_with(study_dir, device="cuda", power=dataclasses.replace(machine().power, gpu_watts=watts))
    text = html.unescape(build_report(study_dir).read_text())
    assert "The GPU's is of its own counter." in text and "Power of the GPU" in text


def test_the_test_documents_one_use_before_the_end_is_told(study_dir: Path) -> None:
    assert "counted trigrams were scored on them: that scaled the forecast" in build_report(study_dir).read_text()


STAGES = ["corpus/manifest.json", "machine.json", "law.json", "plan.json", "records.jsonl"]


@pytest.mark.parametrize("num_done", range(len(STAGES)))
def test_a_half_done_study_says_what_is_missing(study_dir: Path, num_done: int) -> None:
    for name in STAGES[num_done:]:
        (study_dir / name).unlink()
    text = without_scripts(build_report(study_dir).read_text())
    assert len(re.findall(r'<section id="', text)) == 11
    assert text.count("Not yet:") == {0: 9, 1: 8, 2: 7, 3: 6, 4: 3}[num_done]


def test_no_section_without_its_product_makes_one_up(study_dir: Path) -> None:
    (study_dir / "plan.json").unlink()
    records = [stamped.record for stamped in load(study_dir).records if not isinstance(stamped.record, Scored)]
    write_records(study_dir / "records.jsonl", records)
    text = build_report(study_dir).read_text()
    assert "the plan is still to come" in text
    assert "the model has not been scored on the test documents" in text


def test_the_headline_tells_outcome_and_promise(study_dir: Path) -> None:
    sentence = headline_sentence(load(study_dir))
    low, high = plan().forecast.bits_per_byte.low, plan().forecast.bits_per_byte.high
    assert sentence.startswith("10min bought a 1.31 M-parameter model with 1.712 bits per byte on unseen documents;")
    assert f"[{low:.3f}, {high:.3f}]" in sentence


def test_diminishing_returns_by_hand(study_dir: Path) -> None:
    bought = purchases(plan(), 600.0)
    here, double, ten = (bought[i].bits_per_byte.central for i in (1, 2, 3))
    sentence = diminishing_returns(bought)
    assert f"worth {here - double:.3f} bits per byte now and {(double - ten) / 2.321928:.3f} near 10×" in sentence
    assert diminishing_returns(bought[:2]) == ""


def test_the_plan_says_how_flat_its_minimum_is() -> None:
    assert "1.05 M matmul parameters" in size_finding(plan())
    assert "1 larger do not fit in memory" in size_finding(plan())


def test_the_law_is_told_by_its_form_and_every_parameter(study_dir: Path) -> None:
    assert set(MEANINGS) == set(form_of("coupled").parameters)
    before = build_report(study_dir).read_text()
    text = (study_dir / "law.json").read_text()
    (study_dir / "law.json").write_text(text.replace('"coupled"', '"some_form"'))
    after = build_report(study_dir).read_text()
    assert "Form coupled; residuals" in before
    assert "Form some_form; residuals" in after
    for name, meaning in MEANINGS.items():
        row = re.search(f'<tr><td class="t">{re.escape(name)}</td>.*?</tr>', before)
        assert row is not None
        assert html.unescape(row.group()).endswith(f'<td class="t">{meaning}</td></tr>')


def test_decisions_carry_the_rule_beside_them() -> None:
    table = {
        "vocab_size": {"value": 2048, "rule": "r1"},
        "splits": {"val": 0.05, "test": 0.1, "rule": "r2"},
        "context": 256,
    }
    assert list(decisions(table)) == [
        ("vocab_size", "2048", "r1"), ("splits.val", "0.05", "r2"), ("splits.test", "0.1", "r2"), ("context", "256", "")
    ]  # fmt: skip


def test_a_folder_that_is_no_study_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        build_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_importing_the_report_loads_neither_torch_nor_altair() -> None:
    code = "import isoflop.report, sys; print(sorted({'torch', 'altair', 'vl_convert'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
