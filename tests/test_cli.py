"""The command line: quick help, and one line for each thing a person can get wrong, with nothing left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from isoflop import cli
from isoflop.core.codec import encode
from isoflop.core.errors import StudyError
from isoflop.core.files import write_json
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.products import FORMAT_VERSION
from isoflop.core.records import SessionStarted, StageStarted
from isoflop.study import Given, Study
from isoflop.tell import plan_lines
from isoflop.train.layout import Layout
from toy import config, environment, isoflop, plan, recipe, write_texts

sys.path.append(str(Path(__file__).parent / "plan"))
from invented import law, machine, manifest

GIVEN = Given(FORMAT_VERSION, "isoflop run", ["/elsewhere"], "10min", 0, "world", 475.0, budget_seconds=600.0)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_texts(tmp_path / "texts", num_files=3, sentences=5)


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the command prints while it ends with 2."""
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # the process is not started anew
    monkeypatch.setattr(sys, "argv", ["isoflop", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("isoflop: ") and err.count("\n") == 1 and err.endswith("\n"), err
    return err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["resume", "--help"], ["plan", "--help"]])
def test_help_loads_neither_torch_nor_numba(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['isoflop', *{arguments}]\n"
        "from isoflop.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code\n"
        "heavy = {'torch', 'numba', 'numpy', 'tokenizers', 'altair'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Usage" in run.stdout and "isoflop" in run.stdout


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--budget", "nonsense"], "does not begin with a number"),
        (["--budget", "0s"], "zero"),
        (["--budget", "-5min"], "negative"),
        (["--budget", "nan"], "no unit"),
        (["--budget", "3 parsecs"], "unknown unit"),
        (["--budget", "2s"], "smallest that works"),
        (["--budget", "$5"], "--price-per-hour"),
        (["--budget", "10min", "--price-per-hour", "0"], "no price"),
        (["--budget", "10min", "--price-per-hour", "nan"], "no price"),
        (["--budget", "10min", "--price-per-hour", "inf"], "no price"),
        (["--budget", "10min", "--grid", "Atlantis"], "unknown grid"),
        (["--budget", "50gCO2e", "--grid", "0"], "no end"),
    ],
)
def test_wrong_options(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    texts: Path,
    tmp_path: Path,
    wrong: list[str],
    told: str,
) -> None:
    assert told in refused(monkeypatch, capsys, "run", texts, *wrong, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "told"), [("missing", "no such file or folder"), ("empty", "no files"), ("study", "study")]
)
def test_wrong_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    Study(tmp_path / "study").give(GIVEN)
    line = refused(monkeypatch, capsys, "run", tmp_path / name, "--budget", "10min", "--out", tmp_path / "out")
    assert told in line and str(tmp_path / name) in line
    assert not (tmp_path / "out").exists()


def test_a_path_that_study_toml_cannot_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], texts: Path, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    odd.write_bytes(b"some text")
    line = refused(monkeypatch, capsys, "run", odd, "--budget", "10min", "--out", tmp_path / "out")
    assert "not UTF-8" in line and "caf\ufffd.txt" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\x00\xff\xfe binary" * 2000, "no text"), (b"Far too short a text to split.", "short")],
)
def test_texts_that_cannot_be_used_leave_nothing(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    run = isoflop("run", path, "--budget", "10min", "--out", tmp_path / "out", "--quiet")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1 and told in run.stderr.lower(), run.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["texts", "out", ""], ids=["the text", "another folder", "around the text"])
def test_a_folder_that_holds_something_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], texts: Path, tmp_path: Path, out: str
) -> None:
    mine = tmp_path / "out" / "corpus" / "mine.npy"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"keep me")
    before = sorted(tmp_path.rglob("*"))
    line = refused(monkeypatch, capsys, "run", texts, "--budget", "10min", "--out", tmp_path / out)
    assert "not empty" in line and "--out" in line
    assert sorted(tmp_path.rglob("*")) == before and mine.read_bytes() == b"keep me"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], texts: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused(monkeypatch, capsys, "run", texts, "--budget", "10min", "--out", tmp_path / place)
    assert "a file stands where a folder is needed" in line and "--out" in line
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_place_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], texts: Path
) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc: nowhere that even root may not write")
    line = refused(monkeypatch, capsys, "run", texts, "--budget", "10min", "--out", "/sys/kernel/isoflop-study")
    assert "/sys/kernel/isoflop-study" in line and "--out" in line


@pytest.mark.parametrize(
    ("inputs", "version", "told"),
    [
        ([], FORMAT_VERSION, "another text"),
        (["texts"], FORMAT_VERSION, "a study of this text"),
        ([], 7, "format version 7"),
    ],
)
def test_a_study_is_already_there(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    texts: Path,
    tmp_path: Path,
    inputs: list[str],
    version: int,
    told: str,
) -> None:
    study = Study(tmp_path / "out")
    paths = [str(tmp_path / name) for name in inputs] or ["/elsewhere"]
    study.give(dataclasses.replace(GIVEN, inputs=paths, format_version=version))
    before = (study.folder / "study.toml").read_bytes()
    assert told in refused(monkeypatch, capsys, "run", texts, "--budget", "10min", "--out", study.folder)
    assert [path.name for path in study.folder.iterdir()] == ["study.toml"]
    assert (study.folder / "study.toml").read_bytes() == before


UNFINISHED = (["train"], ["plan", "--budget", "10min"], ["generate"])
"""Verbs that need more of a study than its beginning."""
VERBS = (["resume"], ["report"], ["mirror", "--to", "tensorboard"], *UNFINISHED)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_a_folder_that_is_no_study(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: list[str]
) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        line = refused(monkeypatch, capsys, verb[0], folder, *verb[1:])
        assert str(folder) in line and "study" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", UNFINISHED, ids=lambda verb: verb[0])
def test_a_study_not_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: list[str]
) -> None:
    Study(tmp_path / "study").give(GIVEN)
    assert "isoflop resume" in refused(monkeypatch, capsys, verb[0], tmp_path / "study", *verb[1:])


def test_a_plan_without_a_law_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = Study(tmp_path / "study")
    study.give(GIVEN)
    study.write("machine.json", machine())
    before = {path: path.read_bytes() for path in study.folder.iterdir()}
    line = refused(monkeypatch, capsys, "plan", study.folder, "--budget", "$5", "--price-per-hour", "0.4")
    assert "no law.json yet" in line and f"isoflop resume {study.folder}" in line
    assert {path: path.read_bytes() for path in study.folder.iterdir()} == before


def test_a_temperature_without_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Study(tmp_path).give(GIVEN)
    assert "--temperature" in refused(monkeypatch, capsys, "generate", tmp_path, "--temperature", "inf")


@pytest.mark.parametrize(
    ("verb", "option", "value"),
    [("run", "--seed", 2**63), ("generate", "--seed", 2**63), ("generate", "--temperature", "nan")],
)
def test_an_option_out_of_its_range(tmp_path: Path, verb: str, option: str, value: object) -> None:
    arguments = ["--budget", "10min", "--out", tmp_path / "out"] if verb == "run" else [tmp_path]
    run = isoflop(verb, *arguments, option, value)
    assert run.returncode == 2 and option in run.stderr and "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [*VERBS], ids=lambda verb: verb[0])
def test_a_study_of_another_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: list[str]
) -> None:
    Study(tmp_path).give(dataclasses.replace(GIVEN, format_version=1))
    assert "format version 1" in refused(monkeypatch, capsys, verb[0], tmp_path, *verb[1:])
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_a_module_of_the_text_s_folder_hides_none_of_python_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    command = [sys.executable, "-P", "-m", "isoflop", "run", "--budget", "2s"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2 and "smallest that works" in run.stderr, run.stderr


def test_a_report_of_a_study_just_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = Study(tmp_path / "study")
    study.give(GIVEN)
    log = RecordLog(study.records)
    log.write(SessionStarted("isoflop run", "0", 1))
    log.close()
    monkeypatch.setattr(sys, "argv", ["isoflop", "report", str(study.folder)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert Path(out.strip()) == study.report and study.report.is_file()


def test_ctrl_c_outside_training_says_how_to_go_on(texts: Path, tmp_path: Path) -> None:
    write_texts(texts)
    study = Study(tmp_path / "out")
    # a background job ignores Ctrl-C, and its children inherit that
    code = "from signal import *; signal(SIGINT, default_int_handler); from isoflop.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(texts), "--budget", "10min", "--out", str(study.folder), "-q"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    while not any(s.record == StageStarted("measure") for s in read_records(study.records)):
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.startswith("isoflop: interrupted") and f"isoflop resume {study.folder}" in told
    assert told.count("\n") == 1, told
    assert psutil.wait_procs(children, timeout=20)[1] == []
    assert study.has("corpus/manifest.json")


def test_a_plan_names_what_it_costs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = Study(tmp_path / "study")
    study.give(GIVEN)
    study.write("machine.json", machine())
    study.write("law.json", law().report())
    study.decide("heldout_ratio", 1.0, rule="a test")
    study.decide("copy_gain", 0.0, rule="a test")
    write_json(study.corpus / "manifest.json", encode(dataclasses.replace(manifest(), format_version=FORMAT_VERSION)))
    options = ["--budget", "$0.1", "--price-per-hour", "0.4", "--grid", "100", "--json"]
    monkeypatch.setattr(sys, "argv", ["isoflop", "plan", str(study.folder), *options])
    with pytest.raises(SystemExit):
        cli.main()
    answer = json.loads(capsys.readouterr().out)
    assert answer["budget_seconds"] == pytest.approx(900.0)
    share = answer["seconds"]["central"] / 900
    assert 0 < share <= 1
    assert answer["dollars"]["central"] == pytest.approx(0.1 * share)
    for key in ("seconds", "dollars", "kwh", "grams_co2e"):
        assert 0 < answer[key]["low"] < answer[key]["central"] < answer[key]["high"]
    assert answer["grams_co2e"]["high"] == pytest.approx(100 * answer["kwh"]["high"])
    assert "dollars" in plan_lines(answer) and "kWh" in plan_lines(answer)


@pytest.mark.parametrize(
    ("asked", "sharded", "layout"),
    [
        ([], True, Layout(sharded=True)),
        ([], False, Layout()),
        (["--sharded"], False, Layout(sharded=True)),
        (["--no-sharded"], True, Layout()),
        (["--agree-every", "20"], True, Layout(agree_every=20)),
        (["--tensor-parallel", "2"], True, Layout(slices=2)),
    ],
)
def test_several_processes_train_as_planned_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], sharded: bool, layout: Layout
) -> None:
    study, found = Study(tmp_path / "study"), list[Layout]()
    study.give(GIVEN)
    study.write("plan.json", plan(config(), recipe(), sharded=sharded))
    monkeypatch.setattr("isoflop.verbs.train_in_ranks", lambda *_, layout, **rest: found.append(layout) or 0)
    for options in (asked, layout.options):  # which are what each of the processes is started with
        monkeypatch.setattr(sys, "argv", ["isoflop", "train", str(study.folder), "--ranks", "2", *options])
        monkeypatch.setenv("GLIBC_TUNABLES", "")  # or this process would start anew
        with pytest.raises(SystemExit):
            cli.main()
    assert found == [layout, layout]


def test_help_begins_with_what_most_people_want(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["isoflop", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().out
    places = [told.index(f"│ {verb} ") for verb in ("run", "resume", "fit", "prepare", "inspect")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("optimizer", "options", "size", "told"),
    [
        ("muon", {"agree_every": 20}, 1, "--agree-every: one process has nobody to agree with"),
        ("muon", {"sharded": True}, 1, "--sharded: one process has nobody to share with"),
        ("muon", {"sharded": True, "agree_every": 20}, 2, "--sharded: who trains apart needs all of the model"),
        ("schedule-free", {"agree_every": 20}, 2, "--agree-every: schedule-free weights are averages"),
        ("muon", {"slices": 2}, 1, "--tensor-parallel: one process has nobody to compute with. Add --ranks 2"),
        ("muon", {"slices": 2}, 3, "--tensor-parallel: 3 processes are no whole number of groups of 2"),
        ("muon", {"slices": 2, "sharded": True}, 2, "--tensor-parallel: slices and --sharded are two ways"),
        ("muon", {"slices": 2, "agree_every": 20}, 2, "--tensor-parallel: slices and --agree-every are two ways"),
        ("muon", {"slices": 4}, 4, "--tensor-parallel: the model has 2 attention heads, which 4 processes cannot"),
        (
            "muon",
            {"sharded": True},
            3,
            "--sharded: 3 processes cannot share evenly .* or --no-sharded",
        ),
    ],
)
def test_dividing_a_run_is_refused_where_it_cannot_be(
    optimizer: str, options: dict[str, Any], size: int, told: str
) -> None:
    from isoflop.train.layout import Layout, require_layout

    planned = plan(config(), recipe(optimizer=optimizer))
    with pytest.raises(StudyError, match=told):
        require_layout(planned, Layout(**options), size=size)
