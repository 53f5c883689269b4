"""Several processes: tokens a second at the same global batch, and what training apart for many steps costs in loss.

    python benchmarks/ranks.py speed --sizes 2M 10M --out /tmp/ranks
    python benchmarks/ranks.py apart demo --width 64 --tokens 1e6 --out /tmp/ranks

``speed``: the shapes, the batch and the step of ``benchmarks/train.py``, by ``train/supervise.py`` on gloo; one process
on one core, two on a core each, and, because a person with one machine has the choice, one on all cores. Beside them
the most that two could do here: strangers on a core each, with half the batch, that never wait for one another. Rounds
take turns. The bar: two processes at least 1.8 times one. ``apart``: validation loss of two processes that agree every
so many steps (``train/diloco.py``) over that of two together, at equal text and recipe, and the bytes that a process
sends a step by a ring: twice the gradients in bfloat16, or twice the masters in float32 now and then.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpora import CORPORA, STRANGERS, save, stamp, tell
from isoflop.core.process import die_with_parent, tune_process
from isoflop.machine.limits import usable_cores
from isoflop.machine.measure import timing_recipe
from isoflop.model.count import count_parameters
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.text.prepare import load, open_split
from isoflop.train.apart import team_of
from isoflop.train.layout import Layout
from isoflop.train.pilot import validate
from isoflop.train.ranks import Team
from isoflop.train.supervise import PARENT, supervise
from isoflop.train.trainer import Trainer
from runs import CONTEXT, NUM_VAL_TOKENS, prepared
from train import BATCH, SHAPES, VOCAB, config_of

NUM_WARM, NUM_STEPS = 3, 20
SIDES = {"one core": (1, 1), "two processes": (2, 1), "all cores": (1, usable_cores())}
"""Processes, and threads of each."""
STRANGERS_SIDE = "two strangers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="what", required=True)
    speeds, apart = verbs.add_parser("speed"), verbs.add_parser("apart")
    speeds.add_argument("--sizes", nargs="+", default=["2M", "10M"], choices=SHAPES)
    speeds.add_argument("--rounds", type=int, default=3)
    apart.add_argument("corpus", choices=[*CORPORA, *STRANGERS])
    apart.add_argument("--width", type=int, default=64)
    apart.add_argument("--tokens", type=float, default=1e6)
    apart.add_argument("--every", nargs="+", type=int, default=[10, 50, 200])
    for verb in (speeds, apart):
        verb.add_argument("--out", type=Path, required=True)
        verb.add_argument("--as-rank", help="Be one of the processes, with this work; used by this script.")
    arguments = parser.parse_args()
    if arguments.as_rank:
        be_a_rank(json.loads(arguments.as_rank), arguments.out / "told.json")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "speed":
        rows = [speed(size, arguments.rounds, arguments.out) for size in arguments.sizes]
    else:
        rows = losses(arguments)
    save(arguments.out / f"{arguments.what}.json", stamp() | {"rows": rows})


def speed(size: str, rounds: int, out: Path) -> dict[str, Any]:
    """Medians over rounds of the sides' tokens a second, and of what two processes do for one."""
    speeds: dict[str, list[float]] = {side: [] for side in (*SIDES, STRANGERS_SIDE)}
    for _ in range(rounds):
        for side, (processes, threads) in SIDES.items():
            speeds[side].append(told_by({"size": size, "threads": threads}, processes, out))
        speeds[STRANGERS_SIDE].append(strangers({"size": size, "threads": 1, "batch": BATCH // 2}, out))
    row = {"size": size}
    for name, side in (("gain", "two processes"), ("most", STRANGERS_SIDE)):
        pairs = zip(speeds["one core"], speeds[side], strict=True)
        row[name] = statistics.median(two / one for one, two in pairs)
    row |= {side: statistics.median(values) for side, values in speeds.items()}
    tell(row)
    return row


def losses(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Two processes together, then apart."""
    corpus = prepared(arguments.corpus, arguments.out)
    config = shape(arguments.width, vocab_size=load(corpus).vocab_size, context=CONTEXT)
    size, rows = count_parameters(config).all, []
    for every in (None, *arguments.every):
        work = {"corpus": str(corpus), "width": arguments.width, "tokens": arguments.tokens, "every": every}
        loss = told_by(work, 2, arguments.out)
        rows.append({"every": every, "loss": loss, "bytes_a_step": 2 * size * (2 if every is None else 4 / every)})
        tell(rows[-1])
    return rows


def command_of(work: dict[str, Any], out: Path) -> list[str]:
    out.mkdir(exist_ok=True)
    (out / "told.json").unlink(missing_ok=True)
    verb = ["speed"] if "size" in work else ["apart", "demo"]
    return [sys.executable, __file__, *verb, "--out", str(out), "--as-rank", json.dumps(work)]


def strangers(work: dict[str, Any], out: Path) -> float:
    """The sum of what two processes tell that know nothing of each other."""
    folders = [out / f"stranger-{number}" for number in range(2)]
    environment = os.environ | {PARENT: str(os.getpid()), "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen(command_of(work, folder), env=environment) for folder in folders]
    if sum(process.wait() != 0 for process in processes):
        raise SystemExit("a process failed")
    return sum(float(json.loads((folder / "told.json").read_text())) for folder in folders)


def told_by(work: dict[str, Any], processes: int, out: Path) -> float:
    """What the leader of so many processes with this work tells in a file."""
    told = out / "told.json"
    code = supervise(command_of(work, out), size=processes, max_restarts=0, restarting=lambda *_: None)
    if code:
        raise SystemExit(f"a process ended with {code}")
    return float(json.loads(told.read_text()))


def be_a_rank(work: dict[str, Any], told: Path) -> None:
    """Trains, or obeys; the leader tells what came of it."""
    tune_process(__file__)
    die_with_parent(int(os.environ[PARENT]))
    torch.set_num_threads(work.get("threads", 1))
    timed, layout = "size" in work, Layout(agree_every=work.get("every"))
    ranks = team_of(layout, told.parent / "rounds", torch.device("cpu"))
    trainer = timed_trainer(work, ranks) if timed else learning_trainer(work, ranks)
    if ranks is not None and not ranks.leads:
        ranks.follow(trainer)
        return
    told.write_text(json.dumps(tokens_per_second(trainer) if timed else learnt(trainer, Path(work["corpus"]))))
    if ranks is not None:
        ranks.end()


def timed_trainer(work: dict[str, Any], ranks: Team | None) -> Trainer:
    config = config_of(work["size"])
    recipe = timing_recipe(config, work.get("batch", BATCH))
    tokens = np.random.default_rng(0).integers(0, VOCAB, recipe.unique_tokens).astype(np.uint32)
    return Trainer(config, recipe, [tokens], dtype="bfloat16", compiled=True, ranks=ranks)


def tokens_per_second(trainer: Trainer) -> float:
    seconds = []
    for _ in range(NUM_WARM + NUM_STEPS):
        started = time.perf_counter()
        trainer.step()
        seconds.append(time.perf_counter() - started)
    return trainer.recipe.batch_tokens / statistics.median(seconds[NUM_WARM:])


def learning_trainer(work: dict[str, Any], ranks: Team | None) -> Trainer:
    corpus, tokens = Path(work["corpus"]), work["tokens"]
    manifest = load(corpus)
    config = shape(work["width"], vocab_size=manifest.vocab_size, context=CONTEXT)
    recipe = recipe_for(tokens, context=CONTEXT, unique_tokens=manifest.train.num_tokens, seed=0)
    shards = open_split(corpus, manifest.train)
    return Trainer(config, recipe, shards, dtype="bfloat16", ranks=ranks, layout=Layout(agree_every=work["every"]))


def learnt(trainer: Trainer, corpus: Path) -> float:
    """Validation loss, nats per token, after the whole recipe."""
    while trainer.num_done < trainer.recipe.num_steps:
        trainer.step()
    trainer.agree()
    return validate(trainer, corpus, num_tokens=NUM_VAL_TOKENS, dtype="bfloat16").loss


if __name__ == "__main__":
    main()
