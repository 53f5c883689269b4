"""kill -9 in each stage: the workers die too, and ``isoflop resume`` keeps what was done and ends with a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from isoflop.core.errors import CorruptFileError
from isoflop.core.journal import read_records
from isoflop.core.ledger import by_stage
from isoflop.core.records import Record, StageStarted, Step
from isoflop.model.export import load_model
from isoflop.model.transformer import Transformer
from isoflop.stages.train import trained
from isoflop.study import Study
from isoflop.train.checkpoint import Store
from toy import environment, isoflop, write_texts

pytestmark = pytest.mark.long

BUDGET = "90s"
NUM_FILES = 300
"""Less text bears so few steps that there is hardly a moment to be killed in."""

WAIT = {"prepare": 0.1, "measure": 2.0, "pilots": 4.0, "plan": 0.5, "train": 3.0, "evaluate": 0.5}
"""Seconds into a stage at which it is killed, where not at once."""
PRODUCTS = ("corpus/manifest.json", "machine.json", "law.json", "plan.json")
TRAINED = ("evaluate", "export", "report")
"""Stages in which the target run is over."""


def start(texts: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "isoflop", "run", str(texts), "--budget", BUDGET, "--out", str(out), "--quiet"]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def records(study: Study) -> list[Record]:
    try:
        return [stamped.record for stamped in read_records(study.records)]
    except CorruptFileError:  # it is being written
        return []


def wait_for_stage(study: Study, stage: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while StageStarted(stage) not in records(study):
        assert process.poll() is None, f"it ended before {stage}"
        assert time.monotonic() < deadline, f"{stage} did not begin"
        time.sleep(0.05)
    time.sleep(WAIT.get(stage, 0.0))


def weights(model: Transformer) -> dict[str, Tensor]:
    """In float32, as they are exported."""
    return {name: parameter.detach().float().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(
    "stage", ["prepare", "measure", "pilots", "law", "plan", "train", "evaluate", "export", "report"]
)
def test_killed_and_resumed(tmp_path: Path, stage: str) -> None:
    study = Study(tmp_path / "study")
    process = start(write_texts(tmp_path / "texts", num_files=NUM_FILES), study.folder)
    wait_for_stage(study, stage, process)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    products = {name: (study.folder / name).read_bytes() for name in PRODUCTS if study.has(name)}
    if stage in TRAINED:
        at_kill = weights(trained(study).model)

    run = isoflop("resume", study.folder, "--json", timeout=400)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["test_bits_per_byte"] > 0
    assert (study.model / "model.safetensors").is_file() and study.report.is_file()
    assert products == {name: (study.folder / name).read_bytes() for name in products}
    model = load_model(study.model)
    assert asdict(model.config) == study.plan.model
    if stage in TRAINED:
        exported = weights(model)
        assert exported.keys() == at_kill.keys()
        assert all(torch.equal(exported[name], at_kill[name]) for name in at_kill)
    steps = [r for r in records(study) if isinstance(r, Step) and r.run == "target"]
    assert steps[-1].learning_rate == 0.0
    assert all(seconds >= -1e-6 for seconds in by_stage(read_records(study.records)).values())


@pytest.mark.parametrize("stage", ["prepare", "pilots", "train"])
def test_terminated_it_saves_and_says_how_to_go_on(tmp_path: Path, stage: str) -> None:
    study, texts = Study(tmp_path / "study"), write_texts(tmp_path / "texts", num_files=NUM_FILES)
    command = ["run", texts, "--budget", BUDGET, "--out", study.folder, "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "isoflop", *map(str, command)], env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for_stage(study, stage, process)  # type: ignore[arg-type]
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.count("\n") == 1 and "isoflop resume" in told
    assert stage != "train" or ("SIGTERM" in told and not Store(study.run).is_empty)
    run = isoflop("resume", study.folder, "--json", timeout=300)
    assert run.returncode == 0, run.stderr
    spent = by_stage(read_records(study.records))
    assert spent.get(("train", "lost"), 0.0) < 0.05 * spent["train", "productive"]  # the time of the last saving
