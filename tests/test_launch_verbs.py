from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isoflop.core.errors import BudgetError, IsoflopError, StudyError
from isoflop.core.products import FORMAT_VERSION
from isoflop.estimate.shapes import shape_of_size
from isoflop.launch_verbs import launch, launch_lines
from isoflop.study import Given, Study
from isoflop.train.layout import Layout
from toy import config, plan, recipe

GIVEN = Given(FORMAT_VERSION, "isoflop run", ["/elsewhere"], "10min", 0, "world", 475.0, budget_seconds=600.0)
ASKED: dict[str, Any] = {
    "nodes": 1,
    "devices": 8,
    "device": "h100",
    "hours": None,
    "layout": None,
    "spot": False,
    "max_hourly_cost": None,
    "image": "registry/isoflop:1",
    "out": None,
    "submit": False,
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made = Study(tmp_path / "speeches")
    made.give(GIVEN)
    made.write("plan.json", plan(config(), recipe(), training_seconds=7200.0))
    return made.folder


@pytest.mark.parametrize(
    ("on", "file", "hint"),
    [
        ("slurm", "job.sbatch", "sbatch"),
        ("skypilot", "sky.yaml", "sky jobs launch"),
        ("kubernetes", "trainjob.yaml", "kubectl apply"),
        ("ray", "ray-job.json", "isoflop launch"),
    ],
)
def test_the_job_lies_in_the_study_and_says_how_to_submit_it(study: Path, on: str, file: str, hint: str) -> None:
    answer = launch(study, on=on, **ASKED)
    assert answer["file"] == str(study / file) and "isoflop" in (study / file).read_text()
    assert answer["hours"] == 4.0  # twice what is planned
    assert hint in launch_lines(answer) and "8 x H100, 4 hours" in launch_lines(answer)


def test_options_reach_every_process(study: Path) -> None:
    launch(study, on="slurm", **(ASKED | {"layout": Layout(sharded=True), "nodes": 4, "hours": 12.0}))
    script = (study / "job.sbatch").read_text()
    assert "--nodes=4" in script and "--time=0-12:00:00" in script and "--quiet --sharded" in script


def test_the_planned_layout_is_held_against_the_devices(study: Path) -> None:
    Study(study).write("plan.json", plan(config(), recipe(), training_seconds=7200.0, sharded=True))
    with pytest.raises(StudyError, match="--sharded: 3 processes cannot share evenly"):
        launch(study, on="slurm", **(ASKED | {"devices": 3}))
    launch(study, on="slurm", **ASKED)
    assert "shard" not in (study / "job.sbatch").read_text()  # each process reads the plan


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A plan of 1.3 G parameters and 31 G tokens, in two days."""
    made = Study(tmp_path / "large")
    made.give(GIVEN)
    chosen = recipe(context=2048, batch_tokens=2048 * 512, num_steps=30_000, unique_tokens=10**11)
    made.write("plan.json", plan(shape_of_size(1.3e9, context=2048), chosen, training_seconds=48 * 3600.0))
    return made.folder


ANYTHING: dict[str, Any] = ASKED | {"device": None, "nodes": None, "devices": None}


def test_what_nobody_names_is_as_the_cheapest_has_it_that_does_it_in_time(large: Path) -> None:
    def asked(**changes: Any) -> dict[str, Any]:
        return launch(large, on="skypilot", **(ANYTHING | changes))

    in_time, in_haste = asked(device="h100"), asked(device="h100", hours=4.0)
    assert 1 <= in_time["devices"] < in_haste["devices"]
    assert in_haste["devices"] % 8 == 0 and "H100: 8" in (large / "sky.yaml").read_text()  # whole nodes
    assert asked(devices=4, hours=4.0)["devices"] % 4 == 0
    assert asked(device="h100", nodes=4, hours=8.0)["devices"] in (16, 32)
    with pytest.raises(BudgetError, match=r"nothing known would do this plan in 4 hours\. Name --device"):
        asked(device="h100", nodes=1, hours=4.0)


def test_a_small_plan_gets_one_node_of_ray(study: Path) -> None:
    assert launch(study, on="ray", **ANYTHING)["devices"] <= 4


def test_slurm_is_given_the_job(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    monkeypatch.setenv("PATH", str(sbatch.parent))
    with pytest.raises(IsoflopError, match="there is no sbatch here"):
        launch(study, on="slurm", **(ASKED | {"submit": True}))
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    sbatch.write_text('#!/bin/bash\n[ -f "$2" ] && echo "4711;cluster"\n')
    sbatch.chmod(0o755)
    assert launch(study, on="slurm", **(ASKED | {"submit": True}))["job"] == "4711"
    sbatch.write_text("#!/bin/bash\necho 'invalid partition' >&2; exit 1\n")
    with pytest.raises(IsoflopError, match="sbatch refused it"):
        launch(study, on="slurm", **(ASKED | {"submit": True}))


@pytest.mark.parametrize(
    ("on", "change", "told"),
    [
        ("ray", {"nodes": 2}, "--nodes: Ray starts one node"),
        ("kubernetes", {"image": None}, "--image: a container of what"),
        ("kubernetes", {"submit": True}, "--submit: kubernetes is not submitted to from here"),
        ("slurm", {"device": "h1000"}, "--device: unknown device"),
    ],
)
def test_bad_input_is_one_message_and_no_file(study: Path, on: str, change: dict[str, Any], told: str) -> None:
    with pytest.raises(IsoflopError, match=told):
        launch(study, on=on, **(ASKED | change))
    assert not list(study.glob("*job*"))


def test_what_is_not_planned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        launch(tmp_path, on="slurm", **ASKED)
