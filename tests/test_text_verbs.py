"""``isoflop prepare``, ``verify`` and ``inspect`` as a person meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toy import isoflop, rarely, write_texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_texts(tmp_path_factory.mktemp("prepare") / "texts")
    (folder / "copy.txt").write_bytes((folder / "007.txt").read_bytes())
    (folder / "broken.jsonl").write_text('{"text": "short"}\n{\n')
    return folder


@pytest.fixture(scope="module")
def prepared(texts: Path) -> tuple[Path, dict[str, object]]:
    out = texts.parent / "corpus"
    run = isoflop("prepare", texts, "--out", out, "--rules", "gopher-quality", "--keep-rejects", "--json")
    assert run.returncode == 0, run.stderr
    return out, json.loads(run.stdout)


def test_the_answer_adds_up(prepared: tuple[Path, dict[str, object]]) -> None:
    out, answer = prepared
    assert answer["num_read"] == 62 and answer["num_documents"] == 60
    assert answer["dropped"] == {"gopher_short": 1, "exact_duplicate": 1}
    assert answer["refused"] == {"malformed_line": 1}
    assert sum(answer["tokens"].values()) > 50_000  # type: ignore[attr-defined]
    html = (out / "card.html").read_text()
    assert "exact duplicate" in html and 'src="http' not in html and 'href="http' not in html


def test_a_person_is_told_the_funnel(prepared: tuple[Path, dict[str, object]], texts: Path) -> None:
    out, _ = prepared
    again = isoflop("prepare", texts, "--out", out, "--rules", "gopher-quality", "--keep-rejects", "--quiet")
    assert again.returncode == 0, again.stderr
    assert re.search(r"read +62 documents", again.stdout) and re.search(r"kept +60 documents", again.stdout)
    assert re.search(r"- exact duplicate +1 documents", again.stdout)
    shown = isoflop("inspect", out)
    assert shown.stdout.splitlines()[0] == again.stdout.splitlines()[0]


def test_a_document_is_shown_with_its_origin(prepared: tuple[Path, dict[str, object]], texts: Path) -> None:
    out, _ = prepared
    run = isoflop("inspect", out, "--doc", 0, "--json")
    answer = json.loads(run.stdout)
    assert answer["text"] == Path(answer["file"]).read_text() and str(texts) in answer["file"]
    beyond = isoflop("inspect", out, "--doc", 60)
    assert beyond.returncode == 2 and "Choose one from 0 to 59" in beyond.stderr


def test_verify_names_what_is_flipped_missing_swapped_or_new(
    prepared: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    out, _ = prepared
    whole = isoflop("verify", out, "--json")
    assert whole.returncode == 0 and json.loads(whole.stdout)["num_files"] >= 7

    def refused(damage: str) -> str:
        copy = tmp_path / damage
        shutil.copytree(out, copy)
        if damage == "flipped":
            data = bytearray((copy / "train-00000.npy").read_bytes())
            data[5000] ^= 16
            (copy / "train-00000.npy").write_bytes(data)
        elif damage == "missing":
            next(copy.glob("text/*0.parquet")).unlink()
        elif damage == "swapped":
            (copy / "val.npy").rename(copy / "other")
            (copy / "test.npy").rename(copy / "val.npy")
            (copy / "other").rename(copy / "test.npy")
        else:
            shutil.copy(copy / "val.npy", copy / "train-00001.npy")
        run = isoflop("verify", copy)
        assert run.returncode == 2 and run.stderr.count("\n") == 1
        return run.stderr

    assert re.search(r"train-00000\.npy: .*changed", refused("flipped"))
    assert re.search(r"text/\w+-000\.parquet: the file is missing", refused("missing"))
    assert re.search(r"(val|test)\.npy: .*changed", refused("swapped"))
    assert re.search(r"train-00001\.npy: a file that no manifest names", refused("new"))


def test_a_prepared_text_is_what_run_reads(prepared: tuple[Path, dict[str, object]]) -> None:
    from isoflop.text.collect.sources import find

    out, _ = prepared
    assert {Path(file.path).parent.name for file in find([out])} == {"text"}


@pytest.mark.parametrize("sent", [signal.SIGKILL, rarely(signal.SIGINT)])
def test_a_kill_and_the_same_again_give_the_same_bytes(
    texts: Path, prepared: tuple[Path, dict[str, object]], tmp_path: Path, sent: signal.Signals
) -> None:
    out, _ = prepared
    arguments = ["prepare", texts, "--out", tmp_path / "out", "--rules", "gopher-quality", "--keep-rejects", "--quiet"]
    command = [sys.executable, "-m", "isoflop", *map(str, arguments), "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("stages/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, sent)
    _, told = process.communicate()
    if sent is signal.SIGINT and process.returncode:  # it may have been done already
        assert process.returncode == 130 and told.strip().splitlines() == [
            "isoflop: interrupted; what was finished is kept. The same command again goes on from there"
        ]
    again = isoflop(*arguments)
    assert again.returncode == 0, again.stderr
    for path in out.glob("text/*.parquet"):
        assert (tmp_path / "out" / "text" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "out" / "train-00000.npy").read_bytes() == (out / "train-00000.npy").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("prepare", "/nowhere/texts"), "/nowhere/texts: no such file or folder"),
        (("prepare", "{texts}", "--rules", "best"), "no rules named 'best'"),
        (("prepare", "{texts}", "--out", "{texts}"), "the folder holds other files"),
        (("verify", "{texts}"), "neither a prepared text nor a study"),
        (("inspect", "{texts}"), "no prepared text here"),
        (("prepare", "{texts}", "--vocab-size", "7"), "a vocabulary of 7 is not possible"),
        (("prepare", "{texts}", "--tokenizer", "/nowhere.json"), "/nowhere.json: cannot be read"),
        (("prepare", "{texts}", "--tokenizer", "t.json", "--vocab-size", "512"), "Give one of them"),
        (("prepare", "{texts}", "--budget", "$5"), "Give time or FLOPs"),
    ],
)
def test_mistakes_are_told_in_a_line(texts: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    given = [argument.format(texts=texts) for argument in arguments]
    if given[0] == "prepare" and "--out" not in given:
        given += ["--out", str(tmp_path / "out")]
    run = isoflop(*given, "--quiet") if given[0] == "prepare" else isoflop(*given)
    assert run.returncode == 2 and told in run.stderr and run.stderr.count("\n") == 1, run.stderr


def test_a_judge_learned_from_examples_drops_what_is_unlike_the_good(texts: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for i in range(8):
        (bad / f"{i}.txt").write_text(" | ".join(["log in", "read more", "home", f"page {i}", "contact us"] * (3 + i)))
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in [*sorted(texts.glob("0[45]*.txt")), *sorted(bad.glob("[0-3].txt"))]:
        shutil.copy(path, mixed / f"{path.parent.name}-{path.name}")
    told = isoflop(
        "judge", "--good", f"{texts}/00*.txt", "--bad", bad, "--out", tmp_path / "judge.safetensors", "--json"
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["accuracy_left_out"] == 1
    out = tmp_path / "out"
    run = isoflop(
        "prepare", mixed, "--out", out, "--rules", "none", "--judge", tmp_path / "judge.safetensors", "--json"
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["dropped"] == {"low_quality": 4}
    (tmp_path / "judge.safetensors").write_bytes(b"no")
    assert isoflop("prepare", mixed, "--out", out, "--judge", tmp_path / "judge.safetensors").returncode == 2
