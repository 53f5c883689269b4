"""The verbs of a study, from run to mirror; no logic of their own."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from isoflop.cli.options import (
    GRID_HELP,
    AverageOption,
    BudgetOption,
    Json,
    OptimizerOption,
    PriceOption,
    Quiet,
    ScheduleOption,
    SmoothingOption,
    StudyArgument,
    TextsArgument,
    TokenizerOption,
    ZLossOption,
)
from isoflop.core.process import AGAIN, MAX_RESTARTS, tune_process
from isoflop.core.products import MAX_SEED

app = typer.Typer()


@app.command(
    epilog="Examples:  isoflop run --budget 10min  |  isoflop run my-texts/ --budget 2h --out study  |  "
    "isoflop run --budget '$5' --price-per-hour 0.40"
)
def run(
    texts: TextsArgument = None,
    budget: BudgetOption = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option("--out", "-o", help="The study folder to make.")] = Path("study"),
    tokenizer: TokenizerOption = None,
    price_per_hour: PriceOption = None,
    grid: Annotated[str, typer.Option(help=GRID_HELP)] = "world",
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the split, the weights and the data order.")] = 0,
    optimizer: OptimizerOption = "muon",
    schedule: ScheduleOption = "wsd",
    z_loss: ZLossOption = 0.0,
    label_smoothing: SmoothingOption = 0.0,
    average_decay: AverageOption = 0.0,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together, one a GPU.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Get the best model that a budget buys from your text, and a report of what was promised and what happened."""
    tune_process(*AGAIN)
    from isoflop import verbs
    from isoflop.core.products import Method

    study = verbs.start(
        texts or [],
        budget=budget,
        out=out,
        tokenizer=tokenizer,
        price_per_hour=price_per_hour,
        grid=grid,
        seed=seed,
        method=Method(optimizer, schedule, z_loss, label_smoothing, average_decay),
        ranks=ranks,
        quiet=quiet or as_json,
    )
    _print_summary(study, as_json)


@app.command(epilog="Examples:  isoflop resume study/  |  isoflop resume study/ --intensity hourly.csv --deadline 2d")
def resume(
    study: StudyArgument,
    intensity: Annotated[
        Path | None, typer.Option(help="Only in the cleanest hours of this table: times, grams of CO2e per kWh.")
    ] = None,
    deadline: Annotated[str, typer.Option(help="Of these hours, from now.")] = "1d",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a study after Ctrl-C, a crash or a reboot."""
    tune_process(*AGAIN)
    from isoflop import verbs
    from isoflop.waiting import resume_when_clean

    if intensity is None:
        verbs.resume(study, quiet=quiet or as_json)
    else:
        resume_when_clean(study, intensity=intensity, deadline=deadline, tell=lambda line: typer.echo(line, err=True))
    _print_summary(study, as_json)


@app.command(
    epilog="Examples:  isoflop train study/ --ranks 8  |  torchrun --nproc-per-node 8 -m isoflop train study/  |  "
    "srun --ntasks-per-node 8 isoflop train study/"
)
def train(
    study: StudyArgument,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together, one a GPU.")] = 1,
    sharded: Annotated[
        bool | None,
        typer.Option(help="Each holds its share of the model alone (FSDP), or all of it. As planned otherwise."),
    ] = None,
    tensor_parallel: Annotated[
        int,
        typer.Option(min=1, help="So many neighbours compute every layer together: for GPUs with fast links."),
    ] = 1,
    agree_every: Annotated[
        int | None,
        typer.Option(min=1, help="Let them train apart for so many steps at a time (DiLoCo): for slow networks."),
    ] = None,
    max_restarts: Annotated[int, typer.Option(min=0, help="New attempts when one of them dies.")] = MAX_RESTARTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train what a study has planned, in one process or several; isoflop resume does the rest."""
    tune_process(*AGAIN)
    from isoflop import verbs
    from isoflop.train.layout import asked_layout
    from isoflop.train.srun import torchrun_variables

    os.environ.update(torchrun_variables(os.environ))

    told = verbs.train(
        study,
        num_ranks=ranks,
        max_restarts=max_restarts,
        quiet=quiet or as_json,
        layout=asked_layout(sharded, agree_every, tensor_parallel),
    )
    if "RANK" not in os.environ:  # one of several says nothing; who started them does
        typer.echo(json.dumps(told) if as_json else f"trained; go on with: isoflop resume {study}")


@app.command(epilog="Example:  isoflop plan study/ --budget 8h")
def plan(
    study: StudyArgument,
    budget: BudgetOption = ...,  # type: ignore[assignment]
    price_per_hour: PriceOption = None,
    grid: Annotated[str | None, typer.Option(help=f"{GRID_HELP} Price and grid are the study's unless given.")] = None,
    as_json: Json = False,
) -> None:
    """What would another budget buy? Seconds; nothing is trained."""
    from isoflop import verbs
    from isoflop.tell import plan_lines

    answer = verbs.plan(study, budget, price_per_hour=price_per_hour, grid=grid)
    typer.echo(json.dumps(answer, indent=2) if as_json else plan_lines(answer))


@app.command(epilog='Example:  isoflop generate study/ "My fellow citizens"')
def generate(
    study: StudyArgument,
    prompt: Annotated[str, typer.Argument(help="The beginning of the text.")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 200,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Draw among this many likeliest tokens; 0: all.")] = 50,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
    as_json: Json = False,
) -> None:
    """Continue a text with the study's model."""
    from isoflop import verbs

    new = verbs.generate(study, prompt, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, seed=seed)
    typer.echo(json.dumps({"prompt": prompt, "text": new}) if as_json else prompt + new)


@app.command(epilog="Example:  isoflop report study/")
def report(study: StudyArgument, as_json: Json = False) -> None:
    """Write the study's one-file HTML report anew and print its path."""
    from isoflop.report.page import build_report
    from isoflop.report.terminal import facts
    from isoflop.study import Study

    _ = Study(study).given  # refuses a study of another version
    path = build_report(study)
    typer.echo(json.dumps(facts(study)) if as_json else str(path))


@app.command(epilog="Example:  isoflop mirror study/ --to tensorboard --follow")
def mirror(
    study: StudyArgument,
    to: Annotated[Literal["tensorboard", "wandb", "mlflow"], typer.Option(help="An extra of isoflop: [wandb] ...")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder; the study's own of that name otherwise.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the study ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show a study's curves in another tool; offline, and beside a run that knows nothing of it."""
    from isoflop.report.mirror import SINKS
    from isoflop.report.mirror import mirror as copy
    from isoflop.study import Study

    opened, folder = Study(study), out or study / to
    _ = opened.given  # refuses what is no study
    count = copy(opened, SINKS[to](folder, study.resolve().name), follow=follow)
    typer.echo(json.dumps({"out": str(folder), "points": count}) if as_json else f"{folder}: {count:,} points")


@app.command(
    epilog="Examples:  isoflop watch study/  |  isoflop watch study/ --once  |  isoflop watch study/ --prometheus 9100"
)
def watch(
    study: StudyArgument,
    once: Annotated[bool, typer.Option("--once", help="One screen, as it is now.")] = False,
    prometheus: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Answer on this port of 127.0.0.1, for Prometheus.")
    ] = None,
) -> None:
    """One screen of a study at work: budget, loss, speed, goodput, cores, memory, power, GPUs, alerts."""
    from isoflop.watch.follow import watch as follow

    with suppress(KeyboardInterrupt):  # the study goes on; who watched it has seen enough
        follow(study, once=once, port=prometheus)


@app.command(epilog="Example:  isoflop measure --json")
def measure(as_json: Json = False) -> None:
    """What this machine can do: matrix products, training steps, watts."""
    tune_process(*AGAIN)
    from isoflop import verbs
    from isoflop.tell import machine_lines

    machine = verbs.measure_machine()
    typer.echo(json.dumps(machine, indent=2) if as_json else machine_lines(machine))


def _print_summary(study: Path, as_json: bool) -> None:
    from isoflop.report.terminal import facts, summary

    typer.echo(json.dumps(facts(study)) if as_json else summary(study))
