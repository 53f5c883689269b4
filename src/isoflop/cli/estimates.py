"""The verbs of runs elsewhere: estimate and launch; no logic of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from isoflop.cli.options import GRID_HELP, Json, StudyArgument

app = typer.Typer()


@app.command(
    epilog="Examples:  isoflop estimate --params 70e9 --tokens 2e12 --device h100 --num-devices 512  |  "
    "isoflop estimate --model config.json --tokens 15e12 --deadline 60d --max-cost 5e6"
)
def estimate(
    tokens: Annotated[float, typer.Option(help="To train on.")],
    params: Annotated[float | None, typer.Option(help="Parameters of a Llama-like model, or")] = None,
    model: Annotated[Path | None, typer.Option(help="a Hugging Face config.json.")] = None,
    device: Annotated[str | None, typer.Option(help="h100, a100-80, mi300x ...; none: all with --deadline.")] = None,
    num_devices: Annotated[int | None, typer.Option(min=1, help="None: the cheapest number that does it.")] = None,
    devices: Annotated[
        Path | None, typer.Option(help="Devices of your own, columns as in estimate/devices.csv.")
    ] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Tokens of a sequence.")] = None,
    batch_tokens: Annotated[float | None, typer.Option(help="Tokens of a batch; Step Law's optimum otherwise.")] = None,
    optimizer: Annotated[str, typer.Option(help="adamw, muon, lion or sgd: what its state takes.")] = "adamw",
    fp8: Annotated[bool, typer.Option("--fp8", help="Products in 8 bits, where the device has them.")] = False,
    deadline: Annotated[str | None, typer.Option(help="30d, 12h: to be done in.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Dollars, at most.")] = None,
    price_per_hour: Annotated[float | None, typer.Option(help="Dollars for an hour of one device.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="At spot prices.")] = False,
    grid: Annotated[str, typer.Option(help=GRID_HELP)] = "world",
    market_grams: Annotated[
        float | None, typer.Option(help="Grams CO2e per kWh by your contracts, told beside the grid's.")
    ] = None,
    pue: Annotated[float | None, typer.Option(help="Energy of the building over that of its machines.")] = None,
    as_json: Json = False,
) -> None:
    """What would a run on a cluster take? Layout, memory, hours, dollars, energy, carbon, failures; nothing starts."""
    from isoflop import estimate_verbs

    answer = estimate_verbs.estimate(
        params=params,
        model=model,
        tokens=tokens,
        device=device,
        num_devices=num_devices,
        devices=devices,
        context=context,
        batch_tokens=batch_tokens,
        optimizer=optimizer,
        fp8=fp8,
        deadline=deadline,
        max_cost=max_cost,
        price_per_hour=price_per_hour,
        spot=spot,
        grid=grid,
        market_grams=market_grams,
        pue=pue,
    )
    typer.echo(json.dumps(answer, indent=2) if as_json else estimate_verbs.estimate_lines(answer))


@app.command(
    epilog="Examples:  isoflop launch study/ --on slurm --nodes 2 --submit  |  "
    "isoflop launch study/ --on skypilot --device h100 --spot"
)
def launch(
    study: StudyArgument,
    on: Annotated[Literal["slurm", "skypilot", "kubernetes", "ray"], typer.Option(help="Where to.")],
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines; the cheapest that do it in time.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="GPUs of each; as many as the cheapest.")] = None,
    device: Annotated[str | None, typer.Option(help="h100, ...; the cheapest otherwise.")] = None,
    hours: Annotated[
        float | None, typer.Option(min=0.01, help="At most; twice the planned training otherwise.")
    ] = None,
    sharded: Annotated[bool | None, typer.Option(help="As isoflop train has it.")] = None,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="As isoflop train has it.")] = 1,
    agree_every: Annotated[int | None, typer.Option(min=1, help="As isoflop train has it.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Machines that may be taken away (SkyPilot).")] = False,
    max_hourly_cost: Annotated[float | None, typer.Option(min=0, help="Dollars, at most (SkyPilot).")] = None,
    image: Annotated[str | None, typer.Option(help="A container with isoflop in it (Kubernetes).")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The job file; in the study otherwise.")] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Give it to Slurm or Ray.")] = False,
    as_json: Json = False,
) -> None:
    """Train what a study has planned on a cluster: writes the job, and submits it where asked."""
    from isoflop import launch_verbs
    from isoflop.train.layout import asked_layout

    answer = launch_verbs.launch(
        study,
        on=on,
        nodes=nodes,
        devices=devices,
        device=device,
        hours=hours,
        layout=asked_layout(sharded, agree_every, tensor_parallel),
        spot=spot,
        max_hourly_cost=max_hourly_cost,
        image=image,
        out=out,
        submit=submit,
    )
    typer.echo(json.dumps(answer, indent=2) if as_json else launch_verbs.launch_lines(answer))
