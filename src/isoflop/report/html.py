"""The few pieces of HTML the page is made of; text is escaped unless it already is `Html`."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from isoflop.core.products import Interval


class Html(str):
    """Text that is HTML already; any other string is escaped on its way into a `tag`."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str) -> Html:
    """``<name attribute="value">children</name>``; a trailing underscore of an attribute's name is dropped."""
    inner = join(children)
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(text)}"' for key, text in attributes.items())
    return Html(f"<{name}{given}>{inner}</{name}>")


def join(parts: Iterable[str]) -> Html:
    return Html("".join(part if isinstance(part, Html) else escaped(part) for part in parts))


def escaped(text: str) -> Html:
    """``text`` as HTML that can be written; what is no Unicode (a file name's raw bytes) becomes a question mark."""
    return Html(html.escape(text.encode(errors="replace").decode()))


def section(anchor: str, title: str, *parts: str) -> Html:
    return tag("section", tag("h2", title), *parts, id=anchor)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: str = "", footer: bool = False) -> Html:
    """A table; ``numeric`` has one letter a column, ``n`` for numbers aligned on their decimals, ``t`` for text.

    With ``footer`` the last row is set apart as the sum.
    """
    kinds = numeric.ljust(len(header), "t")
    columns = [
        aligned(column) if kind == "n" else list(column)
        for kind, column in zip(kinds, zip(*rows, strict=True), strict=False)
    ]
    lines = [
        tag("tr", *(tag("td", cell, class_=kind) for cell, kind in zip(line, kinds, strict=True)))
        for line in zip(*columns, strict=True)
    ]
    head = tag("thead", tag("tr", *(tag("th", title, class_=kind) for title, kind in zip(header, kinds, strict=True))))
    body = [tag("tbody", *lines[:-1]), tag("tfoot", lines[-1])] if footer and lines else [tag("tbody", *lines)]
    return tag("div", tag("table", head, *body), class_="scroll")


def aligned(cells: Sequence[str]) -> list[str]:
    """Right-aligned number cells padded invisibly, so that their decimal points stand under each other."""
    fractions = [cell.partition(".")[2] if _is_number(cell) else "" for cell in cells]
    longest = max((len(fraction) for fraction in fractions), default=0)
    return [
        cell if isinstance(cell, Html) else _padded(cell, fraction, longest)
        for cell, fraction in zip(cells, fractions, strict=True)
    ]


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "", 1).lstrip("−-+").isdigit()


def _padded(cell: str, fraction: str, longest: int) -> Html:
    missing = "0" * (longest - len(fraction)) if _is_number(cell) else ""
    point = "." if missing and not fraction else ""
    pad = tag("span", point + missing, class_="pad", aria_hidden="true") if missing else Html("")
    return join([cell, pad])


def facts_table(rows: Sequence[tuple[str, str]]) -> Html:
    """Name and value side by side."""
    lines = (tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows)
    return tag("div", tag("table", tag("tbody", *lines), class_="facts"), class_="scroll")


def interval_bar(predicted: Interval, happened: Interval | None, *, inside: bool | None) -> Html:
    """A small drawing: the predicted interval as a band with its centre, what happened as a dot."""
    values = [predicted.low, predicted.high, predicted.central, *([happened.central] if happened else [])]
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0

    def x(value: float) -> float:
        return round(10 + 140 * ((value - low) / span if high > low else 0.5), 1)

    band = max(x(predicted.high) - x(predicted.low), 1.0)
    marks = [
        '<line x1="4" x2="156" y1="9" y2="9" class="axis"/>',
        f'<rect x="{x(predicted.low)}" y="4" width="{band}" height="10" rx="2" class="band"/>',
        f'<line x1="{x(predicted.central)}" x2="{x(predicted.central)}" y1="3" y2="15" class="centre"/>',
    ]
    if happened:
        verdict = {True: "in", False: "out", None: "plain"}[inside]
        marks.append(f'<circle cx="{x(happened.central)}" cy="9" r="4.2" class="dot {verdict}"/>')
    return Html(
        f'<svg class="interval" viewBox="0 0 160 18" width="160" height="18" aria-hidden="true">{"".join(marks)}</svg>'
    )


def figure(title: str, spec: dict[str, Any], *, note: str = "") -> Html:
    """A chart: its title says the finding, its Vega-Lite ``spec`` waits in the page as JSON for the one script."""
    data = Html(json.dumps(spec, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
    caption = tag("figcaption", tag("strong", title), *([tag("span", note)] if note else []))
    script = tag("script", data, type="application/json")
    return tag("figure", caption, tag("div", class_="chart", role="img", aria_label=title), script)
