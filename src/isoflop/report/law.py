"""A fitted law as a page or a picture: what the runs were, what the law makes of them, what it says to do."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import numpy as np
from numpy.typing import NDArray

from isoflop.core.files import write_bytes, write_text
from isoflop.core.products import LawPoint
from isoflop.law.forms import Array
from isoflop.law.optimum import Allocation
from isoflop.law.stack import Stack
from isoflop.law.table import FLOPS_PER_PARAMETER_TOKEN
from isoflop.report.charts import BLUE, GREY, INK, ORANGE, Row, Spec, chart_of, log_x, spec_of, value_y
from isoflop.report.html import figure, section, table, tag
from isoflop.report.numbers import compact, percent
from isoflop.report.page import document

BEYOND = 100.0
"""The frontier is drawn up to so many times the FLOPs of the costliest run."""
NUM_COSTS, NUM_SLICES, NUM_SIZES = 30, 5, 60
_LOSS = "nats per token"
_FLOPS = "training FLOPs"


def write_law(path: Path, law: Stack, *, title: str) -> None:
    """``path`` ends in .html (the page) or .png (its first two charts). Raises ``ValueError`` for another ending."""
    if path.suffix == ".png":
        import vl_convert

        charts = alt.vconcat(
            _frontier(law).properties(width=700, height=340), _slices(law).properties(width=700, height=340)
        )
        write_bytes(path, vl_convert.vegalite_to_png(charts.properties(title=title).to_json(), scale=2))
    elif path.suffix == ".html":
        write_text(path, page(law, title=title))
    else:
        raise ValueError(f"{path.name} ends in neither .html nor .png")


def page(law: Stack, *, title: str) -> str:
    """The whole page as text."""
    report = law.report()
    points = report.laws[0].points
    forms = list(dict.fromkeys(each.form for each in report.laws))
    names = " and ".join(forms[:2]) + (" first" if len(forms) > 2 else "")
    sentence = f"{len(points)} runs, {names}"
    note = "Runs are compared with tuned ones." if forms == ["tuned"] else ""
    return document(
        f"isoflop · {title}",
        sentence,
        tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name in _NAVIGATION)),
        tag(
            "main",
            section(
                "frontier",
                "What compute buys",
                figure("The lowest loss by FLOPs, with its 90 % interval", frontier(law)),
                _purchases(law),
            ),
            section("sizes", "Which size", figure("Loss by size at a fixed cost", slices(law))),
            section("misses", "Where the law misses", figure("Measured over fitted, less 1", misses(law), note=note)),
            section("forms", "Which forms", _forms(law)),
            section("warnings", "What to distrust", _warnings(law)),
        ),
    )


_NAVIGATION = (
    ("frontier", "Frontier"), ("sizes", "Sizes"), ("misses", "Misses"), ("forms", "Forms"), ("warnings", "Warnings"),
)  # fmt: skip


def cost_of(point: LawPoint) -> float:
    """6 N D, as the law reckons; a table's own FLOPs may count more."""
    return FLOPS_PER_PARAMETER_TOKEN * point.num_parameters * point.tokens


def frontier(law: Stack) -> Spec:
    return spec_of(_frontier(law), height=340)


def slices(law: Stack) -> Spec:
    return spec_of(_slices(law), height=340)


def _frontier(law: Stack) -> alt.LayerChart | alt.FacetChart:
    """Runs, and along the best sizes the law's band, dashed beyond the costliest run."""
    points = law.report().laws[0].points
    dearest = max(cost_of(point) for point in points)
    costs = np.geomspace(min(cost_of(point) for point in points), BEYOND * dearest, NUM_COSTS)
    best = [law.optimum(float(cost)) for cost in costs]
    band = law.predict(np.array([each.params for each in best]), np.array([each.tokens for each in best]))
    rows: list[Row] = [
        {"flops": 6 * each.params * each.tokens, "size": each.params, "tokens": each.tokens}
        | {"central": central, "low": low, "high": high}
        for each, central, low, high in zip(
            best, band.central.tolist(), band.low.tolist(), band.high.tolist(), strict=True
        )
    ]
    runs: list[Row] = [{"flops": cost_of(p), "central": p.loss, "run": p.run, "size": p.num_parameters} for p in points]
    x, y = log_x("flops", _FLOPS), value_y("central", _LOSS)
    tips = [
        alt.Tooltip("size:Q", format=".3s"),
        alt.Tooltip("tokens:Q", format=".3s"),
        alt.Tooltip("central:Q", format=".4f"),
    ]
    return alt.layer(
        chart_of(rows).mark_area(color=BLUE, opacity=0.15).encode(x=x, y=value_y("low", _LOSS), y2="high:Q"),
        chart_of(runs)
        .mark_circle(color=GREY, size=30)
        .encode(x=x, y=y, tooltip=["run:N", alt.Tooltip("central:Q", format=".4f")]),
        chart_of([row for row in rows if row["flops"] <= dearest]).mark_line(color=BLUE).encode(x=x, y=y, tooltip=tips),
        chart_of(rows[sum(row["flops"] <= dearest for row in rows) - 1 :])
        .mark_line(color=BLUE, strokeDash=[5, 4])
        .encode(x=x, y=y, tooltip=tips),
    )


def _slices(law: Stack) -> alt.LayerChart | alt.FacetChart:
    """The law's loss by size at a few costs, its bottom marked, and the runs within a factor of 1.3 of each."""
    points = law.report().laws[0].points
    flops = np.array([cost_of(point) for point in points])
    sizes = np.array([point.num_parameters for point in points])
    grid = np.geomspace(sizes.min(), sizes.max(), NUM_SIZES)
    lines: list[Row] = []
    dots: list[Row] = []
    bottoms: list[Row] = []
    for cost in np.geomspace(float(np.quantile(flops, 0.1)), float(flops.max()), NUM_SLICES).tolist():
        name = f"{compact(cost)}FLOP"
        near = np.abs(np.log(flops / cost)) < np.log(1.3)
        span = grid[_sane(law, grid, cost)]
        losses = law.loss(span, cost / 6 / span)
        lines += [
            {"size": n, "central": value, "cost": name} for n, value in zip(span.tolist(), losses.tolist(), strict=True)
        ]
        dots += [
            {"size": p.num_parameters, "central": p.loss, "cost": name}
            for p, is_near in zip(points, near, strict=True)
            if is_near
        ]
        best = law.optimum(float(cost))
        bottoms.append({"size": best.params, "central": best.loss, "cost": name})
    colour = alt.Color("cost:N", sort=None, title="at a cost of")
    x, y = log_x("size", "parameters"), value_y("central", _LOSS)
    return alt.layer(
        chart_of(lines).mark_line().encode(x=x, y=y, color=colour),
        chart_of(dots).mark_circle(size=45).encode(x=x, y=y, color=colour),
        chart_of(bottoms).mark_point(shape="diamond", size=90, color=INK).encode(x=x, y=y),
    )


def _sane(law: Stack, sizes: Array, flops: float) -> NDArray[np.bool_]:
    """[n] whether a size at that cost is not so far off that its loss would flatten all others in the picture."""
    losses = law.loss(sizes, flops / 6 / sizes)
    result: NDArray[np.bool_] = losses < 1.3 * losses.min()
    return result


def misses(law: Stack) -> Spec:
    points = law.report().laws[0].points
    fitted = law.loss(
        np.array([p.num_parameters for p in points]),
        np.array([p.tokens for p in points]),
        np.array([p.unique_tokens for p in points]),
    )
    rows: list[Row] = [
        {"flops": cost_of(p), "miss": p.loss / value - 1, "run": p.run, "size": p.num_parameters}
        for p, value in zip(points, fitted.tolist(), strict=True)
    ]
    colour = alt.Color("size:Q", title="parameters", scale=alt.Scale(type="log", scheme="viridis"))
    axis = alt.Axis(format="+.1%")
    dots = (
        chart_of(rows)
        .mark_circle(size=45)
        .encode(
            x=log_x("flops", _FLOPS),
            y=alt.Y("miss:Q", title="measured over fitted, less 1", axis=axis),
            color=colour,
            tooltip=["run:N", alt.Tooltip("miss:Q", format="+.2%")],
        )
    )
    zero = chart_of([{"miss": 0.0}]).mark_rule(color=ORANGE).encode(y="miss:Q")
    return spec_of(alt.layer(zero, dots), height=260)


def _purchases(law: Stack) -> str:
    dearest = max(cost_of(point) for point in law.report().laws[0].points)
    rows = [_purchase(law, times, law.optimum(times * dearest)) for times in (1.0, 10.0, BEYOND)]
    return table(("FLOPs", "parameters", "tokens", _LOSS, "90 % interval"), rows, numeric="nnnnt")


def _purchase(law: Stack, times: float, best: Allocation) -> list[str]:
    band = law.predict(best.params, best.tokens)
    cost = f"{compact(6 * best.params * best.tokens)} ({times:.0f}x the costliest run)"
    interval = f"{float(band.low):.4f} to {float(band.high):.4f}"
    return [cost, compact(best.params), compact(best.tokens), f"{best.loss:.4f}", interval]


def _forms(law: Stack) -> str:
    report = law.report()
    rows = [
        [
            f"{each.form}, {each.belief}" if each.belief else each.form,
            f"{weight:.2f}",
            "not tested" if error is None else percent(error),
            ", ".join(
                f"{name} {value:.4g} ± {each.standard_errors[name]:.2g}" for name, value in each.parameters.items()
            ),
        ]
        for each, weight, error in zip(report.laws, report.weights, report.extrapolation_errors, strict=True)
    ]
    return table(("form", "weight", "error at costlier runs", "parameters"), rows, numeric="tnnt")


def _warnings(law: Stack) -> str:
    rows = [[warning.code, warning.message] for warning in law.warnings]
    return table(("code", "what"), rows) if rows else tag("p", "Nothing.")
