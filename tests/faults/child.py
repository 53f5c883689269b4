"""A training run of some seconds, to be killed: ``python child.py FOLDER CORPUS``; goes on from what FOLDER holds.

The schedule is in steps, not in seconds (a clock would never strike twice alike), and it saves five times a second. At
its end it writes the SHA-256 of weights and optimizer to FOLDER/done.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch

from isoflop.core.errors import Interrupted
from isoflop.core.files import write_text
from isoflop.core.journal import RecordLog
from isoflop.core.process import PARENT, die_with_parent
from isoflop.text.prepare import load, open_split
from isoflop.train import safety, target, watchdog
from isoflop.train.apart import team_of
from isoflop.train.audit import digest
from isoflop.train.layout import Layout
from isoflop.train.target import TargetRun
from isoflop.train.trainer import Trainer
from toy import config, plan, recipe, session

NUM_STEPS = 500
SAVE_SECONDS = 0.2


def run_in(folder: Path, corpus: Path) -> TargetRun:
    """The run, resumed where there is something to go on from."""
    manifest = load(corpus)
    shape = config(vocab_size=manifest.vocab_size, dropout=float(os.environ.get("DROPOUT", "0.1")))
    changes = json.loads(os.environ.get("RECIPE", "{}"))
    chosen = recipe(num_steps=NUM_STEPS, unique_tokens=manifest.train.num_tokens, **changes)
    apart = int(os.environ["AGREE_EVERY"]) if "AGREE_EVERY" in os.environ else None
    layout = Layout("SHARDED" in os.environ, apart, int(os.environ.get("SLICES", "1")))
    ranks = team_of(layout, folder / "rounds", torch.device("cpu"))
    trainer = Trainer(shape, chosen, open_split(corpus, manifest.train), dtype="float32", ranks=ranks, layout=layout)
    _flip(folder, trainer)
    _slow(folder, trainer)
    _hang(folder, trainer)
    if ranks is not None and not ranks.leads:
        ranks.follow(trainer)
        sys.exit()
    log = RecordLog(folder / "records.jsonl")
    log.claim()
    made = TargetRun(
        trainer, plan(shape, chosen), session(log.write), corpus=corpus, folder=folder / "run", peak_flops=1e12
    )
    made.resume(0.0)
    return made


def _flip(folder: Path, trainer: Trainer) -> None:
    """Flips a bit of the weights of the process that FLIP names, at step 200, once."""
    if os.environ.get("FLIP") != os.environ.get("RANK", "0"):
        return
    apply, calls = trainer.apply, 0

    def flipping(window: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 200 and not (folder / "flipped").exists():
            (folder / "flipped").touch()
            trainer.optimizer.parts["embeddings"].state()["0.master"].view(-1).view(torch.int32)[5] ^= 1 << 20
        return apply(window, scale)

    trainer.apply = flipping  # type: ignore[method-assign]


def _hang(folder: Path, trainer: Trainer) -> None:
    """Lets the process that HANG names hang at its 200th step, once; a watchdog waits two seconds."""
    if "HANG" not in os.environ:
        return
    watchdog.PATIENCE_SECONDS, watchdog.PATIENCE_SHARE = 2.0, 0.0
    apply, calls = trainer.apply, 0

    def hanging(window: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if os.environ["HANG"] == os.environ.get("RANK", "0") and calls == 200 and not (folder / "hung").exists():
            (folder / "hung").touch()
            time.sleep(1e6)
        return apply(window, scale)

    trainer.apply = hanging  # type: ignore[method-assign]


def _slow(folder: Path, trainer: Trainer) -> None:
    """Makes steps last longer where STEP_SECONDS says so; who takes one notes its process in FOLDER/joined."""
    if "STEP_SECONDS" not in os.environ:
        return
    apply, seconds, noted = trainer.apply, float(os.environ["STEP_SECONDS"]), False

    def slow(window: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        nonlocal noted
        if not noted:
            with (folder / "joined").open("a") as file:
                file.write(f"{os.getpid()}\n")
            noted = True
        time.sleep(seconds)
        return apply(window, scale)

    trainer.apply = slow  # type: ignore[method-assign]


def train(folder: Path, corpus: Path) -> None:
    torch.set_num_threads(1)
    target.landed = lambda anchor, *_, **__: anchor
    safety.save_interval = lambda *_, **__: SAVE_SECONDS
    if PARENT in os.environ:
        die_with_parent(int(os.environ[PARENT]))
    run = run_in(folder, corpus)
    write_text(folder / "started", str(os.getpid()))
    try:
        run.run()
        write_text(folder / "done", digest(run.trainer.snapshot()))
    except Interrupted as error:
        sys.exit(error.exit_code)
    finally:
        if run.trainer.ranks:
            run.trainer.ranks.end()


if __name__ == "__main__":
    train(*map(Path, sys.argv[1:]))
