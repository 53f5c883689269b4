"""What ``isoflop fit`` and ``isoflop optimum`` do; they load no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from isoflop.core import codec
from isoflop.core.budget import Budget, Rates
from isoflop.core.errors import CorruptFileError, TableError
from isoflop.core.files import read_json, write_checked_json
from isoflop.core.products import LawReport, StackReport
from isoflop.law.ensemble import scatter_of
from isoflop.law.envelope import approach_1
from isoflop.law.explore import Explorer
from isoflop.law.fit import AUTO, suitable
from isoflop.law.fit import fit as fit_table
from isoflop.law.forms import FORMS, PARAMS, TOKENS, UNIQUE, Array, form_of
from isoflop.law.isoflop import approach_2, reading_bias
from isoflop.law.objective import Cost, Huber, StudentT
from isoflop.law.optimum import diminishing, for_flops, price_of_smaller
from isoflop.law.resample import Way
from isoflop.law.search import best_fit
from isoflop.law.stack import Stack
from isoflop.law.table import LOSS, Table

SMALLER = 2.0
"""Times smaller than the best: the model whose price is told."""
NUM_NEXT = 5
"""Runs of a pool that are named."""
PICTURES = (".html", ".png")
COSTS = ("huber", "mse", "student")
GAIN = 0.01
"""A doubling of the FLOPs that lowers the loss by less is said to be past the point of diminishing returns."""


def parse_pairs(text: str | None, option: str, example: str) -> dict[str, str]:
    """``params=N,tokens=D`` as a mapping; `TableError` where it is none."""
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    if any(not (name.strip() and theirs.strip()) for name, _, theirs in pairs):
        raise TableError(f"{text!r} is no list of pairs", where=option, remedy=f"Write for example {example}")
    return {name.strip(): theirs.strip() for name, _, theirs in pairs}


def fit(
    points: Path,
    *,
    form: str,
    columns: str | None,
    bootstrap: int,
    predict: Path | None,
    out: Path | None,
    seed: int,
    cost: str | None = None,
    hold: str | None = None,
    resample: str = "points",
    noise: float = 0.0,
    pool: Path | None = None,
    curves: Path | None = None,
    plot: Path | None = None,
) -> dict[str, Any]:
    """Fits a law to a CSV file; what ``isoflop fit --json`` prints.

    Writes the law to ``out`` and its page or picture to ``plot`` where they are given. Of the runs in ``pool`` it says
    which to do next for the sake of those in ``predict``, of the states of training in ``curves`` which size was best.
    """
    if pool and not predict:
        remedy = "Give the runs that matter: --predict targets.csv"
        raise TableError("there is no target to choose runs for", where="--pool", remedy=remedy)
    if plot and plot.suffix not in PICTURES:
        raise TableError(f"{plot.name} is no picture that can be drawn", where="--plot", remedy="Use .html or .png")
    if resample != "points" and form == AUTO:
        remedy = "Name a form: --form chinchilla"
        raise TableError("a stack of forms is not resampled but perturbed", where="--resample", remedy=remedy)
    if cost is not None and (cost not in COSTS or form == AUTO):
        what = f"unknown cost {cost!r}" if cost not in COSTS else "a stack of forms has its own cost"
        remedy = f"Use one of {', '.join(COSTS)}, with --form chinchilla or another"
        raise TableError(what, where="--cost", remedy=remedy)
    if form != AUTO and form not in FORMS:
        raise TableError(f"unknown form {form!r}", where="--form", remedy=f"Use auto or one of {', '.join(FORMS)}")
    names = parse_pairs(columns, "--columns", "params=N,tokens=D")
    table = _read(points, names)
    asked = {ours: theirs for ours, theirs in names.items() if ours != LOSS}
    targets, could_do = (_read(path, asked, needs_loss=False) if path else None for path in (predict, pool))
    if form != AUTO and (more := form_of(form).must_be_told) and (predict or plot):
        what = f"{form} cannot forecast from sizes and tokens alone: it also depends on {', '.join(more)}"
        raise TableError(what, where="--form", remedy="Leave out --predict and --plot")
    envelope = _envelope(_read(curves, names)) if curves else None
    held = _held(hold, form)
    chosen = _cost(table, form, cost, held)
    law = fit_table(
        table, form=form, cost=chosen, hold=held, way=_way(resample, noise), num_draws=bootstrap, seed=seed, noise=noise
    )
    if out:
        write_checked_json(out, codec.encode(law.report()))
    if plot:
        from isoflop.report.law import write_law  # loads the chart library

        write_law(plot, law, title=points.name)
    found = answer(law) | {"isoflop": _isoflop(table), "envelope": envelope}
    if targets is not None:
        found["predictions"] = _predictions(law, targets)
    if targets is not None and could_do is not None:
        found["next"] = _next(table, could_do, targets, seed)
    return found


def _cost(table: Table, form: str, name: str | None, hold: Mapping[str, float]) -> Cost | None:
    """The cost of that name; Student's scale is the scatter about Huber's fit."""
    if name == "mse":
        return Huber(math.inf)
    return StudentT(scatter_of(best_fit(table, form_of(form), hold=hold))) if name == "student" else None


def _way(name: str, noise: float) -> Way:
    if name not in get_args(Way):
        raise TableError(f"unknown way {name!r}", where="--resample", remedy=f"Use one of {', '.join(get_args(Way))}")
    if name == "noise" and noise <= 0:
        remedy = "Say how far two seeds of one run differ: --noise 0.003"
        raise TableError("there is no noise to resample by", where="--resample noise", remedy=remedy)
    return cast(Way, name)


def _held(text: str | None, form: str) -> dict[str, float]:
    """``E=1.8,alpha=.34`` as numbers."""
    if text and form == AUTO:
        remedy = "Name one: --form muennighoff"
        raise TableError("parameters can be held of one form alone", where="--hold", remedy=remedy)
    try:
        return {name: float(value) for name, value in parse_pairs(text, "--hold", "E=1.8,alpha=0.34").items()}
    except ValueError as error:
        raise TableError(str(error), where="--hold", remedy="Write for example E=1.8,alpha=0.34") from None


def _next(table: Table, pool: Table, targets: Table, seed: int) -> list[dict[str, Any]]:
    """Runs of the pool, those first that tell most about the targets for what they cost."""
    forms = {candidate.form.name: candidate.form for candidate in suitable(table)}
    done, open_ones = table.places(), pool.places()
    both = {name: np.concatenate([done[name], open_ones[name]]) for name in done if name in open_ones}
    explorer = Explorer(
        list(forms.values()),
        both,
        np.concatenate([table.cost, pool.cost]),
        targets.places(),
        seed=seed,
        done=list(range(len(table))),
        losses=table.loss.tolist(),
    )
    chosen = [run - len(table) for run in explorer.most_telling(NUM_NEXT, math.inf)]
    return [
        {
            "row": pool.rows[i],
            "params": float(open_ones[PARAMS][i]),
            "tokens": float(open_ones[TOKENS][i]),
            "flops": float(pool.cost[i]),
        }
        for i in chosen
    ]


def _isoflop(table: Table) -> dict[str, Any] | None:
    """What groups of equal FLOPs say of the best size by themselves; None where fewer than two enclose it."""
    try:
        read = approach_2(table)
    except TableError:
        return None
    bias = None
    with suppress(TableError):  # too few runs for a law, or too few groups that it encloses
        bias = reading_bias(table, best_fit(table, form_of("chinchilla")))
    return {
        "exponent": read.law.exponent,
        "exponent_bias": bias,
        "coefficient": read.law.coefficient,
        "minima": [{"flops": c, "params": n} for c, n in zip(read.flops.tolist(), read.sizes.tolist(), strict=True)],
        "refused": [{"flops": c, "side": edge.side, "params": edge.size} for c, edge in read.refused.items()],
    }


def _envelope(curves: Table) -> dict[str, Any]:
    """What the envelope of training curves says of the best size."""
    read = approach_1(curves)
    return {
        "exponent": read.law.exponent,
        "coefficient": read.law.coefficient,
        "largest_bias": float(read.bias.min()),
        "flops": [float(read.flops[0]), float(read.flops[-1])],
    }


def answer(law: Stack) -> dict[str, Any]:
    """The best form's figures, and the stack's."""
    report = law.report()
    best = report.laws[0]
    assert best.certificate is not None
    return {
        "form": best.form,
        "parameters": best.parameters,
        "standard_errors": best.standard_errors,
        "intervals": _intervals(best),
        **codec.encode(best.certificate),
        "residual_sd": best.residual_sd,
        "unidentified": best.prior_dominated,
        "forms": [
            {"form": each.form, "belief": each.belief, "weight": weight, "extrapolation_error": error}
            for each, weight, error in zip(report.laws, report.weights, report.extrapolation_errors, strict=True)
        ],
        "num_points": len(best.points),
        "warnings": codec.encode(report.warnings),
        "seconds": report.seconds,
    }


def optimum(
    path: Path,
    *,
    budget: str,
    flops_per_second: float | None,
    price_per_hour: float | None,
    watts: float | None,
    grams_per_kwh: float | None,
    unique_tokens: float,
    inference_tokens: float,
) -> dict[str, Any]:
    """The best size and length for a budget under a law that ``isoflop fit --out`` wrote."""
    law = load(path)
    parsed = Budget.parse(budget)
    rates = (flops_per_second, watts, price_per_hour, grams_per_kwh)
    flops = parsed.amount if parsed.unit == "FLOP" else _converted(parsed, *rates)
    best = law.optimum(flops, unique_tokens=unique_tokens, inference_tokens=inference_tokens)
    band = law.predict(best.params, best.tokens, unique_tokens)

    def loss(params: Any, tokens: Any) -> Any:
        return law.loss(params, tokens, unique_tokens)

    alone = law.optimum(flops, unique_tokens=unique_tokens)
    prices = law.prices_of_smaller(alone, SMALLER, unique_tokens) * flops
    between = None if inference_tokens else _ninety(law.best_sizes(best.params, for_flops(flops), unique_tokens))
    return {
        "flops": flops,
        "params": best.params,
        "tokens": best.tokens,
        "params_interval": between,
        "tokens_interval": between and [best.tokens * best.params / n for n in reversed(between) if n],
        "loss": float(band.central),
        "low": float(band.low),
        "high": float(band.high),
        "flops_of_half_the_size": _finite(price_of_smaller(loss, flops, SMALLER) * flops),
        "flops_of_half_the_size_interval": _ninety(prices),
        "diminishing_from_flops": _finite(
            diminishing(loss, gain=GAIN, cheapest_flops=flops / 1e6, dearest_flops=flops * 1e9)
        ),
        "diminishing_from_flops_interval": _ninety(law.diminishing_from(flops, GAIN, unique_tokens)),
        "warnings": codec.encode(law.warnings_for(best.params, best.tokens, unique_tokens)),
    }


def one_budget(budget: str | None, amounts: Mapping[str, float | None]) -> str:
    """The one budget that was given, in words; ``amounts`` by unit. `TableError` unless there is exactly one."""
    words = {"flop": "{!r}flop", "h": "{!r}h", "$": "${!r}", "kWh": "{!r}kWh", "kgCO2e": "{!r}kgCO2e"}
    given = [words[unit].format(amount) for unit, amount in amounts.items() if amount is not None]
    given += [budget] if budget is not None else []
    if len(given) != 1:
        what = f"{len(given)} budgets were given" if given else "no budget was given"
        raise TableError(
            what, where="isoflop optimum", remedy="Give one: --flops 1e21, --hours 8, --budget '$500', ..."
        )
    return given[0]


def load(path: Path) -> Stack:
    """A law that was written; `CorruptFileError` where the file is none."""
    try:
        return Stack.from_report(codec.decode(StackReport, read_json(path)))
    except (FileNotFoundError, IsADirectoryError):
        remedy = "Fit one: isoflop fit points.csv --out law.json"
        raise TableError("no such file", where=str(path), remedy=remedy) from None
    except ValueError as error:
        remedy = "Fit it again: isoflop fit points.csv --out law.json"
        raise CorruptFileError(f"not a law that isoflop fit wrote ({error})", where=str(path), remedy=remedy) from error


def _converted(
    budget: Budget,
    flops_per_second: float | None,
    watts: float | None,
    price_per_hour: float | None,
    grams_per_kwh: float | None,
) -> float:
    """FLOPs of a budget of another unit, at the rates given."""
    if flops_per_second is None:
        remedy = "Say what the machine trains at: --flops-per-second 4e14 (isoflop measure knows this one)"
        raise TableError(f"{budget} is no number of FLOPs", where="--budget", remedy=remedy)
    if watts is None and budget.unit in ("kWh", "gCO2e"):
        raise TableError(f"{budget} needs watts", where="--budget", remedy="Say what the machine draws: --watts 700")
    rates = Rates(flops_per_second, watts or 1.0, price_per_hour, grams_per_kwh)
    return budget.to_seconds(rates).seconds * flops_per_second


def _read(path: Path, names: dict[str, str], *, needs_loss: bool = True) -> Table:
    remedy = f"Give a CSV file of params, tokens{', loss' if needs_loss else ''}"
    try:
        return Table.read(path, names=names, needs_loss=needs_loss)
    except (FileNotFoundError, IsADirectoryError):
        raise TableError("no such file", where=str(path), remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise TableError("not UTF-8 text", where=f"{path}, byte {error.start}", remedy=remedy) from error


def _predictions(law: Stack, targets: Table) -> list[dict[str, Any]]:
    columns = targets.places()
    band = law.predict(columns[PARAMS], columns[TOKENS], columns[UNIQUE])
    return [
        {"params": params, "tokens": tokens, "loss": loss, "low": low, "high": high}
        for params, tokens, loss, low, high in np.column_stack(
            [columns[PARAMS], columns[TOKENS], band.central, band.low, band.high]
        ).tolist()
    ]


def _intervals(report: LawReport) -> dict[str, list[float | None]]:
    """95 % intervals of the parameters; None where a bound is no number."""
    draws = np.array(report.draws)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return {name: [_finite(low[i]), _finite(high[i])] for i, name in enumerate(report.parameters)}


def _ninety(draws: Array) -> list[float | None]:
    """90 % interval; None where an end is no number."""
    return [_finite(end) for end in np.quantile(draws, [0.05, 0.95], method="nearest")]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
