"""``isoflop fit`` and ``isoflop optimum`` as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from isoflop.law_verbs import fit, load, optimum
from toy import isoflop

KEYS = {
    "form",
    "parameters",
    "standard_errors",
    "intervals",
    "objective",
    "converged",
    "num_basins",
    "condition_number",
    "warnings",
    "seconds",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chinchilla's law with a noise of half a per cent; sizes are called N."""
    path = tmp_path_factory.mktemp("fit") / "runs.csv"
    rng = np.random.default_rng(0)
    lines = ["N,tokens,loss"]
    for size in np.geomspace(1e7, 1e9, 7):
        for tokens in np.geomspace(2e8, 2e10, 6):
            loss = (1.7 + 400 / size**0.34 + 410 / tokens**0.28) * np.exp(0.005 * rng.standard_normal())
            lines.append(f"{size:.6g},{tokens:.6g},{loss:.5f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_fit_prints_json_and_writes_a_law_that_optimum_reads(runs: Path, tmp_path: Path) -> None:
    targets, law = tmp_path / "targets.csv", tmp_path / "law.json"
    targets.write_text("N,tokens\n3e9,6e10\n")
    arguments = ("fit", runs, "--columns", "params=N", "--bootstrap", 100, "--predict", targets, "--out", law, "--json")
    done = isoflop(*arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) >= KEYS
    assert answer["converged"] and answer["num_points"] == 42
    assert sum(each["weight"] for each in answer["forms"]) == pytest.approx(1.0)
    (place,) = answer["predictions"]
    truth = 1.7 + 400 / 3e9**0.34 + 410 / 6e10**0.28
    assert place["low"] < truth < place["high"] and place["loss"] == pytest.approx(truth, rel=0.02)
    best = isoflop("optimum", law, "--budget", "1e21flop", "--json")
    assert best.returncode == 0, best.stderr
    found = json.loads(best.stdout)
    assert 6 * found["params"] * found["tokens"] == pytest.approx(1e21)
    assert found["low"] < found["loss"] < found["high"]
    for command in (("fit", runs, "--columns", "params=N", "--form", "chinchilla"), ("optimum", law, "-b", "1e20flop")):
        told = isoflop(*command)
        assert told.returncode == 0 and 2 < len(told.stdout.splitlines()) < 24
        assert max(map(len, told.stdout.splitlines())) < 200


def test_a_law_survives_its_file(runs: Path, tmp_path: Path) -> None:
    law = tmp_path / "law.json"
    fit(runs, form="chinchilla", columns="params=N", bootstrap=20, predict=None, out=law, seed=0)
    answer = optimum(
        law,
        budget="1h",
        flops_per_second=1e17,
        price_per_hour=None,
        watts=None,
        grams_per_kwh=None,
        unique_tokens=float("inf"),
        inference_tokens=0.0,
    )
    assert answer["flops"] == pytest.approx(3.6e20)
    stack = load(law)
    assert stack.optimum(3.6e20).params == answer["params"]
    law.write_text(law.read_text().replace('"seconds"', '"minutes"'))
    refused = isoflop("optimum", law, "--budget", "1e20flop")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("fit", "nowhere.csv"), "nowhere.csv: no such file"),
        (("fit", "RUNS"), "no column params"),
        (("fit", "RUNS", "--columns", "params"), "--columns"),
        (("fit", "RUNS", "--columns", "params=n"), "there is no column n"),
        (("fit", "RUNS", "--columns", "params=N", "--form", "wave"), "unknown form 'wave'"),
        (("optimum", "nowhere.json", "--budget", "1e20flop"), "no such file"),
        (("optimum", "RUNS", "--budget", "1e20flop"), "not"),
        (("optimum", ".", "--budget", "1e20flop"), "no such file"),
    ],
)
def test_mistakes_are_told_in_one_line(runs: Path, arguments: tuple[str, ...], what: str) -> None:
    done = isoflop(*(str(runs) if part == "RUNS" else part for part in arguments))
    assert done.returncode == 2
    assert what in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize(("ending", "begins"), [(".html", b"<!doctype html>"), (".png", b"\x89PNG")])
def test_a_law_is_drawn(runs: Path, tmp_path: Path, ending: str, begins: bytes) -> None:
    picture = tmp_path / f"law{ending}"
    fit(runs, form="auto", columns="params=N", bootstrap=20, predict=None, out=None, seed=0, plot=picture)
    drawn = picture.read_bytes()
    assert drawn.startswith(begins) and len(drawn) > 20_000
    if ending == ".html":
        page = drawn.decode()
        assert page.count('type="application/json"') == 3 and "What compute buys" in page and "skaling" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plot", "law.gif"), "no picture that can be drawn"),
        (("--cost", "mse"), "a stack of forms has its own cost"),
        (("--pool", "pool.csv"), "there is no target to choose runs for"),
        (("--resample", "runs", "--form", "chinchilla"), "unknown way 'runs'"),
        (("--resample", "noise", "--form", "chinchilla"), "there is no noise to resample by"),
        (("--hold", "E=-1", "--form", "chinchilla"), "E cannot be -1"),
        (("--resample", "clusters"), "a stack of forms is not resampled"),
        (("--form", "rounded", "--plot", "law.html"), "cannot forecast from sizes and tokens alone"),
        (("--hold", "E=1.8"), "parameters can be held of one form alone"),
        (("--hold", "E=low", "--form", "chinchilla"), "could not convert string to float: 'low'"),
        (("--cost", "mean", "--form", "chinchilla"), "unknown cost 'mean'"),
    ],
)
def test_what_cannot_be_drawn_or_counted_is_refused(runs: Path, options: tuple[str, ...], message: str) -> None:
    done = isoflop("fit", runs, "--columns", "params=N", *options)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_costs_differ_and_agree_on_clean_runs(runs: Path) -> None:
    found = [
        fit(runs, form="chinchilla", columns="params=N", bootstrap=10, predict=None, out=None, seed=0, cost=cost)
        for cost in (None, "mse", "student")
    ]
    floors = [answer["parameters"]["E"] for answer in found]
    assert len(set(floors)) == 3 and floors == pytest.approx([1.7] * 3, rel=0.1)


def test_a_budget_has_many_names_and_one_amount(runs: Path, tmp_path: Path) -> None:
    law = tmp_path / "law.json"
    fit(runs, form="chinchilla", columns="params=N", bootstrap=20, predict=None, out=law, seed=0)
    answers = []
    for options in (
        ("--budget", "1.25e20flop"),
        ("--flops", "1.25e20"),
        ("--hours", "2", "--flops-per-second", 1.25e20 / 7200),
    ):
        done = isoflop("optimum", law, *options, "--json")
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert [answer["flops"] for answer in answers] == pytest.approx([1.25e20] * 3, rel=1e-6)
    low, high = answers[0]["params_interval"]
    assert low < answers[0]["params"] < high
    for name in ("flops_of_half_the_size", "diminishing_from_flops"):
        low, high = answers[0][f"{name}_interval"]
        assert low < answers[0][name] < high
    for options, message in (
        ((), "no budget was given"),
        (("--flops", "1e20", "--hours", "2"), "2 budgets were given"),
    ):
        done = isoflop("optimum", law, *options)
        assert done.returncode == 2 and message in done.stderr


def test_groups_of_equal_flops_are_read(tmp_path: Path) -> None:
    """alpha .34, beta .28: N* goes with C^(.28 / .62)."""
    lines = ["params,tokens,loss"]
    for flops in np.geomspace(1e18, 1e21, 5):
        for size in 0.6 * (flops / 6) ** 0.45 * np.geomspace(1 / 5, 5, 9):
            tokens = flops / 6 / size
            lines.append(f"{size:.8g},{tokens:.8g},{1.7 + 400 / size**0.34 + 410 / tokens**0.28:.8f}")
    points = tmp_path / "isoflop.csv"
    points.write_text("\n".join(lines))
    answer = fit(points, form="chinchilla", columns=None, bootstrap=20, predict=None, out=None, seed=0)
    read = answer["isoflop"]
    assert len(read["minima"]) == 5 and read["refused"] == []
    assert read["exponent"] - read["exponent_bias"] == pytest.approx(0.28 / 0.62, abs=1e-3)


def test_the_next_runs_are_of_the_pool_and_for_the_target(runs: Path, tmp_path: Path) -> None:
    pool, targets = tmp_path / "pool.csv", tmp_path / "targets.csv"
    places = [(size, tokens) for size in (1e7, 1e8, 1e9, 3e9) for tokens in (1e9, 1e10, 1e11)]
    pool.write_text("N,tokens\n" + "\n".join(f"{size:g},{tokens:g}" for size, tokens in places))
    targets.write_text("N,tokens\n1e10,2e11\n")
    done = isoflop(
        "fit", runs, "--columns", "params=N", "--bootstrap", 50, "--predict", targets, "--pool", pool, "--json"
    )
    assert done.returncode == 0, done.stderr
    chosen = json.loads(done.stdout)["next"]
    assert chosen and len({run["row"] for run in chosen}) == len(chosen)
    assert all((run["params"], run["tokens"]) in places for run in chosen)
    assert all(run["flops"] == pytest.approx(6 * run["params"] * run["tokens"]) for run in chosen)
    targets.write_text("N,tokens\n1e7,1e9\n")
    near = isoflop(
        "fit", runs, "--columns", "params=N", "--bootstrap", 50, "--predict", targets, "--pool", pool, "--json"
    )
    assert [run["row"] for run in json.loads(near.stdout)["next"]] != [run["row"] for run in chosen]


def test_the_envelope_of_training_curves_is_read(runs: Path, tmp_path: Path) -> None:
    """alpha .34, beta .28, every length a state of the same training: N* goes with C^(.28 / .62)."""
    curves = tmp_path / "curves.csv"
    lines = ["N,tokens,loss"]
    for size in np.geomspace(1e7, 1e10, 25):
        lines += [
            f"{size:.6g},{d:.6g},{1.7 + 400 / size**0.34 + 410 / d**0.28:.8f}" for d in np.geomspace(1e8, 1e12, 40)
        ]
    curves.write_text("\n".join(lines))
    done = isoflop("fit", runs, "--columns", "params=N", "--form", "chinchilla", "--curves", curves, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["envelope"]
    assert found["exponent"] == pytest.approx(0.28 / 0.62, abs=0.03)
    assert -0.01 < found["largest_bias"] <= 0
    told = isoflop("fit", runs, "--columns", "params=N", "--form", "chinchilla", "--curves", curves)
    assert "envelope" in told.stdout
    curves.write_text("\n".join(lines[:81]))
    few = isoflop("fit", runs, "--columns", "params=N", "--form", "chinchilla", "--curves", curves)
    assert few.returncode == 2 and "training curve" in few.stderr
