"""The verbs of scaling laws: sweep, fit and optimum; no logic of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from isoflop.cli.options import Json, PlaceOption, PriceOption, Quiet, WorkersOption
from isoflop.core.extras import needs
from isoflop.core.products import MAX_SEED

app = typer.Typer()


@app.command(
    epilog="Examples:  isoflop sweep corpus/ --widths 64,96,128,192 --tokens 1e6,2e6,4e6  |  "
    "isoflop sweep corpus/ --widths 256,512 --tokens 1e7,2e7 --seeds 0,1 --on slurm  |  then: isoflop fit points.csv"
)
def sweep(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="What isoflop prepare wrote, or a study.")],
    widths: Annotated[str, typer.Option(help="Of the models: multiples of 32.")],
    tokens: Annotated[str, typer.Option(help="Training tokens at which each is decayed and validated.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make, or to go on with.")] = Path("sweep"),
    seeds: Annotated[str, typer.Option(help="Each size is trained with each of them.")] = "0",
    context: Annotated[int, typer.Option(min=16, help="Tokens of a sequence.")] = 256,
    dtype: Annotated[Literal["bfloat16", "float32"], typer.Option(help="Of the products.")] = "bfloat16",
    rate_factor: Annotated[float, typer.Option(min=1e-3, max=1e3, help="On the learning rate of the rule.")] = 1.0,
    val_tokens: Annotated[int, typer.Option(min=1000, help="Validation tokens that losses are measured on.")] = 200_000,
    workers: WorkersOption = None,
    on: PlaceOption = "local",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train models of given sizes and lengths, here or on a cluster: a table of losses for isoflop fit."""
    with needs("text"):
        from isoflop import sweep_verbs
    from isoflop.tell import sweep_lines

    answer = sweep_verbs.sweep(
        corpus,
        out,
        widths=widths,
        tokens=tokens,
        seeds=seeds,
        context=context,
        dtype=dtype,
        rate_factor=rate_factor,
        num_val_tokens=val_tokens,
        workers=workers,
        on=on,
        quiet=quiet or as_json,
    )
    typer.echo(json.dumps(answer, indent=2) if as_json else sweep_lines(answer))


@app.command(
    epilog="Examples:  isoflop fit points.csv --out law.json  |  isoflop fit runs.csv --columns params=N,flops=C,loss=L"
    "  |  isoflop fit points.csv --form skaling --predict targets.csv --json  |  isoflop fit points.csv --plot law.html"
)
def fit(
    points: Annotated[
        Path, typer.Argument(metavar="CSV", help="Runs: params, tokens (or flops), loss; unique_tokens.")
    ],
    form: Annotated[str, typer.Option(help="A form by name; auto stacks those that extrapolate best.")] = "auto",
    columns: Annotated[str | None, typer.Option(help="Your headers: params=N,tokens=D,loss=L.")] = None,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Resamples behind the intervals.")] = 1000,
    cost: Annotated[
        str | None, typer.Option(help="Of residuals, with --form: huber (as Hoffmann), mse, student.")
    ] = None,
    hold: Annotated[str | None, typer.Option(help="Parameters to keep, with --form: E=1.8,alpha=0.34.")] = None,
    predict: Annotated[Path | None, typer.Option(help="A CSV file of params, tokens to forecast.")] = None,
    resample: Annotated[str, typer.Option(help="With --form: points, clusters (whole sizes) or noise.")] = "points",
    noise: Annotated[float, typer.Option(min=0, help="Relative sd between seeds of one run.")] = 0.0,
    pool: Annotated[Path | None, typer.Option(help="Runs that could be done: which next, for --predict?")] = None,
    curves: Annotated[
        Path | None, typer.Option(help="States of training (same columns): the best size by their envelope.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the law here: .html (a page) or .png.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the law here, for isoflop optimum.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
    as_json: Json = False,
) -> None:
    """Fit a scaling law to a table of runs: forms compared by extrapolation, intervals, and what to distrust."""
    from isoflop import law_verbs
    from isoflop.tell import fit_lines

    answer = law_verbs.fit(
        points,
        form=form,
        columns=columns,
        bootstrap=bootstrap,
        predict=predict,
        out=out,
        seed=seed,
        cost=cost,
        hold=hold,
        resample=resample,
        noise=noise,
        pool=pool,
        curves=curves,
        plot=plot,
    )
    typer.echo(json.dumps(answer, indent=2) if as_json else fit_lines(answer))


@app.command(
    epilog="Examples:  isoflop optimum law.json --budget 1e21flop --inference-tokens 2e12  |  "
    "isoflop optimum law.json --hours 8 --flops-per-second 3e14 --unique-tokens 5e9"
)
def optimum(
    law: Annotated[Path, typer.Argument(metavar="LAW", help="What isoflop fit --out wrote.")],
    budget: Annotated[
        str | None, typer.Option("--budget", "-b", help="1e21flop, 8h, '$500', 20kWh, 5000gCO2e.")
    ] = None,
    flops: Annotated[float | None, typer.Option(help="The budget in FLOPs, or")] = None,
    hours: Annotated[float | None, typer.Option(help="in hours, or")] = None,
    dollars: Annotated[float | None, typer.Option(help="in dollars, or")] = None,
    kwh: Annotated[float | None, typer.Option(help="in kWh, or")] = None,
    kg_co2e: Annotated[float | None, typer.Option(help="in kg of CO2e.")] = None,
    flops_per_second: Annotated[float | None, typer.Option(help="What the machine trains at.")] = None,
    price_per_hour: PriceOption = None,
    watts: Annotated[float | None, typer.Option(help="What the machine draws.")] = None,
    grams_per_kwh: Annotated[float | None, typer.Option(help="CO2e of its electricity.")] = None,
    unique_tokens: Annotated[float, typer.Option(min=1, help="Distinct tokens there are.")] = float("inf"),
    inference_tokens: Annotated[float, typer.Option(min=0, help="Tokens to serve over its life.")] = 0.0,
    as_json: Json = False,
) -> None:
    """The best size and length for a budget under a fitted law."""
    from isoflop import law_verbs
    from isoflop.tell import optimum_lines

    amounts = {"flop": flops, "h": hours, "$": dollars, "kWh": kwh, "kgCO2e": kg_co2e}
    answer = law_verbs.optimum(
        law,
        budget=law_verbs.one_budget(budget, amounts),
        flops_per_second=flops_per_second,
        price_per_hour=price_per_hour,
        watts=watts,
        grams_per_kwh=grams_per_kwh,
        unique_tokens=unique_tokens,
        inference_tokens=inference_tokens,
    )
    typer.echo(json.dumps(answer, indent=2) if as_json else optimum_lines(answer))
