"""The charts as Vega-Lite specs, built with Altair; titles are the page's business, axes and units are ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import altair as alt

from isoflop.core.products import Candidate, Interval, LawPoint, Plan
from isoflop.core.records import Evaluation, Monitor, Scored, Step
from isoflop.report import view
from isoflop.report.curves import isoflop_curves
from isoflop.report.numbers import compact

Row = dict[str, Any]
Spec = dict[str, Any]

INK, BLUE, ORANGE, GREY = "#22303c", "#2f6690", "#c8553d", "#9aa5b1"
STAGE_COLOURS = (
    "#8fa9bf",
    "#d9b26f",
    "#2f6690",
    "#7a9e7e",
    "#b7a3c9",
    "#16425b",
    "#c8553d",
    "#9aa5b1",
    "#5c6b73",
    "#d8dee4",
)
CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "#52606d", "titleColor": "#52606d", "gridColor": "#e8ecf0", "domainColor": "#c3ccd5",
        "tickColor": "#c3ccd5", "labelFontSize": 11, "titleFontSize": 11,
        "titleFontWeight": "normal", "titlePadding": 8,
    },
    "legend": {"labelColor": "#52606d", "titleColor": "#52606d", "titleFontWeight": "normal", "labelFontSize": 11},
}  # fmt: skip
"""Vega-Lite config shared by all charts of the page."""

_BITS = "bits per byte"
_SIZE = "matmul parameters"


def chart_of(rows: Sequence[Row]) -> alt.Chart:
    """Of rows that travel in the chart itself."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def spec_of(chart: Any, *, height: int) -> Spec:
    """As wide as its place on the page."""
    return cast(Spec, chart.properties(width="container", height=height).to_dict())


def log_x(field: str, title: str) -> alt.X:
    axis = alt.Axis(format="~s", tickCount=6, labelOverlap=True)
    return alt.X(f"{field}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=18), axis=axis)


def value_y(field: str, title: str, *, domain: list[float] | None = None) -> alt.Y:
    scale = alt.Scale(domain=domain) if domain else alt.Scale(zero=False, padding=24)
    return alt.Y(f"{field}:Q", title=title, scale=scale)


def _bounds(interval: Interval) -> Row:
    return {"central": interval.central, "low": interval.low, "high": interval.high}


def ledger(rows: Sequence[view.LedgerRow], budget_seconds: float | None) -> Spec:
    """Seconds of each activity stacked to one bar, coloured by stage; the budget is a line across it."""
    stages = list(dict.fromkeys(row.stage for row in rows))
    values = [
        {"stage": row.stage, "activity": row.activity, "seconds": row.seconds, "order": i} for i, row in enumerate(rows)
    ]
    colours = [STAGE_COLOURS[i % len(STAGE_COLOURS)] for i in range(len(stages))]
    x = alt.X("seconds:Q", title="seconds", stack="zero", axis=alt.Axis(tickCount=8), scale=alt.Scale(nice=False))
    bar = (
        chart_of(values)
        .mark_bar(height=44, stroke="white", strokeWidth=1)
        .encode(
            x=x,
            color=alt.Color(
                "stage:N", title=None, scale=alt.Scale(domain=stages, range=colours), legend=alt.Legend(orient="top")
            ),
            order=alt.Order("order:Q"),
            tooltip=["stage:N", "activity:N", alt.Tooltip("seconds:Q", format=".1f")],
        )
    )
    if budget_seconds is None:
        return spec_of(bar, height=56)
    rule = chart_of([{"budget": budget_seconds, "label": "budget"}]).encode(x="budget:Q")
    line = rule.mark_rule(color=ORANGE, strokeWidth=2, strokeDash=[5, 3])
    text = rule.mark_text(color=ORANGE, align="right", dx=-5, dy=-35).encode(text="label:N")
    return spec_of(bar + line + text, height=76)


def what_if(purchases: Sequence[view.Purchase], happened: float | None) -> Spec:
    """Forecast bits per byte over the budget, with intervals; what this budget did buy as a diamond."""
    values = [_bounds(p.bits_per_byte) | {"factor": p.factor, "label": f"{p.factor:.3g}×"} for p in purchases]
    ticks = [p.factor for p in purchases]
    axis = alt.Axis(values=ticks, labelExpr="format(datum.value, '.3~g') + '×'")
    x = alt.X("factor:Q", title="times this budget", scale=alt.Scale(type="log", padding=40, nice=False), axis=axis)
    base = chart_of(values).encode(x=x)
    layers = [
        base.mark_line(color=BLUE, strokeWidth=1.5).encode(y=value_y("central", f"test {_BITS}")),
        base.mark_rule(color=BLUE, strokeWidth=6, opacity=0.3).encode(y="low:Q", y2="high:Q"),
        base.mark_point(color=BLUE, filled=True, size=70, opacity=1).encode(y="central:Q"),
        base.mark_text(color=INK, dx=12, align="left", dy=-8).encode(
            y="central:Q", text=alt.Text("central:Q", format=".3f")
        ),
    ]
    if happened is not None:
        dot = chart_of([{"factor": 1.0, "central": happened}]).encode(x="factor:Q", y="central:Q")
        layers.append(dot.mark_point(shape="diamond", filled=True, color=ORANGE, size=110, opacity=1))
    return spec_of(alt.layer(*layers), height=230)


def _candidate_band(candidates: Sequence[Candidate]) -> list[alt.Chart]:
    rows = [_bounds(c.bits_per_byte) | {"size": c.num_parameters.matmul} for c in candidates]
    base = chart_of(rows).encode(x=log_x("size", _SIZE))
    return [
        base.mark_area(color=BLUE, opacity=0.16).encode(y=value_y("low", _BITS), y2="high:Q"),
        base.mark_line(color=BLUE, strokeWidth=2).encode(y="central:Q"),
    ]


def _mark(size: float, value: float, label: str, *, shape: str, colour: str) -> list[alt.Chart]:
    base = chart_of([{"size": size, "central": value, "label": label}]).encode(x="size:Q", y="central:Q")
    point = base.mark_point(shape=shape, filled=True, color=colour, size=130, opacity=1, stroke="white", strokeWidth=1)
    return [point, base.mark_text(color=colour, dy=18, fontWeight="bold").encode(text="label:N")]


def isoflop(points: Sequence[LawPoint], factor: float, plan: Plan | None, happened: float | None) -> Spec:
    """Pilots by size and loss, coloured by tokens, with curves of equal FLOPs; the law's for the whole budget below.

    ``factor`` turns nats per token into bits per byte (`Split.bits_per_nat`).
    """
    rows = [
        {
            "size": p.num_parameters,
            "central": p.loss * factor,
            "tokens": p.tokens,
            "flops": p.flops,
            "run": p.run,
        }
        for p in points
    ]
    base = chart_of(rows).encode(x=log_x("size", _SIZE), y=value_y("central", _BITS))
    colour = alt.Color(
        "tokens:Q",
        title="pilots: tokens trained on",
        scale=alt.Scale(type="log", range=["#e3c27a", "#7a9e7e", "#2f6690", "#16324a"]),
        legend=alt.Legend(orient="top", gradientLength=300, format=".3~s", tickCount=3),
    )
    tips = [
        "run:N",
        alt.Tooltip("central:Q", format=".3f"),
        alt.Tooltip("tokens:Q", format=".3s"),
        alt.Tooltip("flops:Q", format=".2e"),
    ]
    layers = _candidate_band(plan.candidates) if plan else []
    layers += _isoflop_curves(points, factor)
    layers.append(base.mark_circle(size=75, opacity=1).encode(color=colour, tooltip=tips))
    if plan and happened is not None:
        layers += _mark(plan.num_parameters.matmul, happened, "happened", shape="diamond", colour=ORANGE)
    return spec_of(alt.layer(*layers), height=340)


def _isoflop_curves(points: Sequence[LawPoint], factor: float) -> list[alt.Chart]:
    """Dashed lines through the sizes at equal FLOPs, named at their largest size."""
    curves = isoflop_curves(points)
    lines = [
        {"size": size, "central": loss * factor, "flops": curve.flops}
        for curve in curves
        for size, loss in zip(curve.sizes, curve.losses, strict=True)
    ]
    names = [
        {"size": curve.sizes[-1], "central": curve.losses[-1] * factor, "name": f"{compact(curve.flops)}FLOP"}
        for curve in curves
    ]
    line = chart_of(lines).mark_line(color=GREY, strokeWidth=1.5, strokeDash=[4, 3])
    text = chart_of(names).mark_text(color=GREY, align="left", dx=9)
    x, y = log_x("size", _SIZE), value_y("central", _BITS)
    return [line.encode(x=x, y=y, detail="flops:N"), text.encode(x=x, y=y, text="name:N")] if curves else []


def candidates(plan: Plan) -> Spec:
    """Forecast bits per byte of every size the budget could buy, the chosen one marked."""
    chosen = _mark(
        plan.num_parameters.matmul, plan.forecast.bits_per_byte.central, "chosen", shape="circle", colour=INK
    )
    return spec_of(alt.layer(*_candidate_band(plan.candidates), *chosen), height=230)


def loss(
    steps: Sequence[Step], evaluations: Sequence[Evaluation], train_factor: float, promised: Interval | None
) -> Spec:
    """Training loss (fine and smooth) and validation over tokens, bits per byte; the promise as a band at the end.

    ``train_factor`` turns the training loss in nats per token into bits per byte.
    """
    fine, smooth = (_curve(steps, train_factor, bins) for bins in (300, 50))
    end = steps[-1].tokens if steps else evaluations[-1].tokens
    values = [row["loss"] for row in smooth[len(smooth) // 16 :]] + [e.bits_per_byte for e in evaluations[-3:]]
    values += [promised.low, promised.high] if promised else []
    room = 0.06 * (max(values) - min(values)) or 0.1
    domain = [min(values) - room, max(values) + room]
    y = value_y("loss", _BITS, domain=domain)
    x = alt.X(
        "tokens:Q", title="tokens", axis=alt.Axis(format="~s", tickCount=8), scale=alt.Scale(nice=False, padding=6)
    )
    layers = [
        chart_of(fine).mark_line(color=BLUE, strokeWidth=1, opacity=0.3, clip=True).encode(x=x, y=y),
        chart_of(smooth).mark_line(color=BLUE, strokeWidth=2, clip=True).encode(x=x, y=y),
    ]
    held = [{"tokens": e.tokens, "loss": e.bits_per_byte, "what": "validation"} for e in evaluations]
    points = chart_of(held).encode(x=x, y=y)
    layers.append(
        points.mark_line(color=ORANGE, strokeWidth=1, clip=True, point=alt.OverlayMarkDef(color=ORANGE, size=45))
    )
    if promised:
        band = {"from": 0.93 * end, "to": end, "low": promised.low, "high": promised.high}
        base = chart_of([band | {"central": promised.central}]).encode(x="from:Q", x2="to:Q")
        layers.insert(
            0, base.mark_rect(color=BLUE, opacity=0.22).encode(y=value_y("low", _BITS, domain=domain), y2="high:Q")
        )
        layers.insert(1, base.mark_rule(color=INK, strokeDash=[4, 2]).encode(y="central:Q"))
    return spec_of(alt.layer(*layers), height=320)


def _curve(steps: Sequence[Step], factor: float, bins: int) -> list[Row]:
    means = zip(
        bin_means([step.tokens for step in steps], bins),
        bin_means([step.loss for step in steps], bins),
        strict=True,
    )
    return [{"tokens": round(tokens), "loss": round(mean * factor, 5)} for tokens, mean in means]


def series(x: Sequence[float], y: Sequence[float], *, x_title: str, y_title: str, y_format: str = "~s") -> Spec:
    """One small line over ``x``, thinned to at most 200 points by averaging, from zero."""
    rows = [{"x": a, "y": b} for a, b in zip(bin_means(x, 200), bin_means(y, 200), strict=True)]
    x_axis = alt.X("x:Q", title=x_title, axis=alt.Axis(format="~s", tickCount=5), scale=alt.Scale(nice=False))
    y_axis = alt.Y("y:Q", title=y_title, axis=alt.Axis(format=y_format, tickCount=4), scale=alt.Scale(zero=True))
    line = chart_of(rows).mark_area(color=BLUE, opacity=0.14, line={"color": BLUE, "strokeWidth": 1.5})
    return spec_of(line.encode(x=x_axis, y=y_axis), height=120)


def power(samples: Sequence[Monitor]) -> Spec:
    """Watts over the minutes of work: the central estimate within its low and high."""
    names = ("low", "central", "high")
    watts = [bin_means([getattr(s, f"joules_{name}") / s.seconds for s in samples], 200) for name in names]
    rows = [
        {"minutes": minutes} | dict(zip(names, values, strict=True))
        for minutes, *values in zip(bin_means(minutes_of(samples), 200), *watts, strict=True)
    ]
    x = alt.X("minutes:Q", title="minutes of work", axis=alt.Axis(tickCount=5), scale=alt.Scale(nice=False))
    base = chart_of(rows).encode(x=x)
    band = base.mark_area(color=BLUE, opacity=0.16).encode(
        y=alt.Y("low:Q", title="watts", axis=alt.Axis(tickCount=4)), y2="high:Q"
    )
    return spec_of(band + base.mark_line(color=BLUE, strokeWidth=1.5).encode(y="central:Q"), height=120)


def bin_means(values: Sequence[float], num_bins: int) -> list[float]:
    """Means over at most ``num_bins`` consecutive bins of near-equal length: smoothing and thinning in one."""
    num_bins = min(num_bins, len(values))
    edges = [round(i * len(values) / num_bins) for i in range(num_bins + 1)] if num_bins else [0]
    return [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def minutes_of(samples: Sequence[Monitor]) -> list[float]:
    """Minutes of work at the end of each sample; pauses between sessions are left out."""
    total, minutes = 0.0, []
    for sample in samples:
        total += sample.seconds
        minutes.append(total / 60)
    return minutes


def yardsticks(score: Scored) -> Spec:
    """Bits per byte of the model with its interval, xz and a unigram model on the same documents; shorter is better."""
    rows: list[Row] = [
        {
            "who": "this model",
            "bits": score.bits_per_byte,
            "low": score.bits_per_byte_low,
            "high": score.bits_per_byte_high,
        },
        {"who": "xz", "bits": score.xz_bits_per_byte, "high": score.xz_bits_per_byte},
        {"who": "unigram", "bits": score.unigram_bits_per_byte, "high": score.unigram_bits_per_byte},
    ]
    base = chart_of(rows).encode(
        y=alt.Y("who:N", title=None, sort=None, axis=alt.Axis(labelFontSize=13, domain=False, ticks=False))
    )
    colour = alt.condition("datum.who == 'this model'", alt.value(BLUE), alt.value("#c9d2da"))
    scale = alt.Scale(domain=[0, 1.1 * max(row["bits"] for row in rows)], nice=False)
    x = alt.X("bits:Q", title=f"{_BITS} (less is better)", scale=scale, axis=alt.Axis(tickCount=8))
    bar = base.mark_bar(height=20).encode(x=x, color=colour)
    error = base.mark_rule(color=INK, strokeWidth=2).encode(x="low:Q", x2="high:Q")
    text = base.mark_text(align="left", dx=8, color=INK, dy=-1).encode(
        x=alt.X("high:Q"), text=alt.Text("bits:Q", format=".3f")
    )
    return spec_of(bar + error + text, height=110)
