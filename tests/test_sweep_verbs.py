from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isoflop import cli, sweep_verbs
from isoflop.core.errors import BudgetError, DivergedError, IsoflopError, StudyError
from isoflop.core.files import read_json, write_checked_json
from isoflop.law.table import Table
from isoflop.sweep_verbs import sweep

ASKED: dict[str, Any] = {
    "widths": "64,32",
    "tokens": "1e5,6e4",
    "seeds": "0",
    "context": 16,
    "dtype": "float32",
    "rate_factor": 0.25,  # at all of it the toy's text is learnt after the fewest tokens
    "num_val_tokens": 2000,
    "workers": 1,
    "on": "local",
    "quiet": True,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As conftest.py promises, though a single worker may take all cores."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sweep_verbs, "usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def swept(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept")
    sweep(corpus, out, **ASKED)
    return out


def test_its_table_is_one_that_laws_are_fitted_to(swept: Path) -> None:
    table = Table.read(swept / "points.csv")
    rows = list(csv.DictReader((swept / "points.csv").open()))
    assert [row["run"] for row in rows] == ["w32-s0", "w32-s0", "w64-s0", "w64-s0"]
    tokens, batch = table.columns["tokens"], 512
    assert list(tokens) == [round(asked / batch) * batch for asked in (6e4, 1e5)] * 2
    assert (table.columns["params_all"] > table.columns["params"]).all() and (table.loss > 0).all()
    assert table.loss[1] < table.loss[0]


def test_what_is_finished_is_not_trained_again(
    corpus: Path, swept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (swept / "points.csv").read_bytes()
    monkeypatch.setattr(sweep_verbs, "run_pilot", lambda job: pytest.fail("trained"))
    options = ["--widths", "64,32", "--tokens", "6e4,1e5", "--context", "16", "--dtype", "float32", "--workers", "1"]
    options += ["--rate-factor", "0.25"]
    command = ["sweep", str(corpus), "--out", str(swept), "--val-tokens", "2000", *options]
    cli.app([*command, "--json"], standalone_mode=False)
    answer = json.loads(capsys.readouterr().out)
    assert answer["num_runs"] == 2 and len(answer["losses"]) == 4 and answer["warnings"] == []
    cli.app([*command, "--quiet"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "w32-s0" in told and f"next: isoflop fit {swept / 'points.csv'}" in told
    assert (swept / "points.csv").read_bytes() == before


def test_another_sweep_in_its_folder_is_refused(corpus: Path, swept: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"runs/w64-s0: another run is here"):
        sweep(corpus, swept, **(ASKED | {"rate_factor": 2.0}))
    other = tmp_path / "corpus"
    shutil.copytree(corpus, other)
    manifest = read_json(other / "manifest.json")
    write_checked_json(other / "manifest.json", manifest | {"sources": ["elsewhere"]})
    with pytest.raises(StudyError, match="runs on another corpus are here"):
        sweep(other, swept, **ASKED)


def test_more_runs_join_the_table_and_none_is_trained_twice(corpus: Path, swept: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(swept, out)
    answer = sweep(corpus, out, **(ASKED | {"widths": "32,32", "tokens": "6e4,60100", "seeds": "1,1"}))
    assert [each["run"] for each in answer["losses"]] == ["w32-s0"] * 2 + ["w32-s1"] + ["w64-s0"] * 2
    assert answer["num_runs"] == 1


def test_a_run_that_diverges_is_left_out(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(job: Any) -> Any:
        if job.model["hidden_size"] == 64:
            raise DivergedError("not finite", where=job.run)
        return trained(job)

    trained = sweep_verbs.run_pilot
    monkeypatch.setattr(sweep_verbs, "run_pilot", diverging)
    answer = sweep(corpus, tmp_path, **(ASKED | {"tokens": "6e4"}))
    assert [each["run"] for each in answer["losses"]] == ["w32-s0"]
    assert answer["warnings"][0]["message"] == "w64-s0: not finite; its later points are missing"
    with pytest.raises(StudyError, match="every run diverged"):
        sweep(corpus, tmp_path / "other", **(ASKED | {"widths": "64"}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"widths": "64,100"}, "--widths: '100' cannot be one. Write multiples of 32"),
        ({"widths": "wide"}, "--widths: 'wide' cannot be one"),
        ({"tokens": "1e6,nan"}, "--tokens: 'nan' cannot be one"),
        ({"tokens": "1000"}, "--tokens: 1000 tokens are 2 steps of 512 tokens. Give each run 51,200 or more"),
        ({"seeds": "1e30"}, "--seeds: '1e30' cannot be one. Write whole numbers"),
        ({"seeds": "0,-1"}, "--seeds: '-1' cannot be one"),
        ({"seeds": ""}, "--seeds: '' cannot be one"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    corpus: Path, tmp_path: Path, change: dict[str, str], told: str
) -> None:
    with pytest.raises(BudgetError, match=told):
        sweep(corpus, tmp_path / "out", **(ASKED | change))
    assert not (tmp_path / "out").exists()


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsoflopError, match="no finished corpus here"):
        sweep(tmp_path, tmp_path / "out", **ASKED)
