"""report.html: one self-contained file; the sections, one style sheet, one copy of the chart library."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from isoflop.core.files import write_text
from isoflop.report import view
from isoflop.report.html import Html, tag
from isoflop.report.story import headline_sentence
from isoflop.report.view import Study

_DRAW = """
const config = %s;
for (const figure of document.querySelectorAll("figure")) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  vegaEmbed(figure.querySelector(".chart"), spec, {actions: false, renderer: "svg", config});
}
"""
_NAVIGATION = (
    ("predicted-happened", "Predicted | happened"), ("what-if", "2× and 10×"), ("ledger", "Time"), ("law", "Law"),
    ("plan", "Plan"), ("training", "Training"), ("evaluation", "Evaluation"), ("text", "Text"), ("machine", "Machine"),
    ("warnings", "Warnings"), ("reproduce", "Reproduce"),
)  # fmt: skip


def build_report(study_dir: Path) -> Path:
    """Writes ``study_dir/report.html`` from the study's files alone and returns its path.

    A stage that has not left its product yet is told as such. Raises `StudyError` where the folder is no study,
    `CorruptFileError` for a file that is not what isoflop wrote, `DiskError` where it cannot write.
    """
    path = study_dir / view.REPORT_FILE
    write_text(path, render(view.load(study_dir)))
    return path


def render(study: Study) -> str:
    """The whole page; loads Altair and the chart library, which takes some seconds."""
    from isoflop.report import evidence, sections

    sentence = headline_sentence(study)
    links = (tag("a", name, href=f"#{anchor}") for anchor, name in _NAVIGATION)
    return document(
        f"isoflop · {study.folder.resolve().name}",
        sentence,
        tag("nav", *links),
        tag("main", sections.front(study), evidence.back(study)),
    )


def document(brand: str, sentence: str, *parts: str) -> str:
    """A page with its style and the chart library; ``sentence`` is its finding."""
    header = tag("header", tag("p", brand, class_="brand"), tag("h1", sentence))
    head = tag("head", _meta(sentence), tag("style", Html(_style())))
    body = tag("body", header, *parts, *_scripts())
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _meta(title: str) -> Html:
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return Html(f'<meta charset="utf-8">{viewport}{tag("title", title)}')


def _style() -> str:
    return files("isoflop.report").joinpath("style.css").read_text("utf-8")


def _scripts() -> list[Html]:
    from isoflop.report.charts import CONFIG
    from isoflop.report.library import chart_library

    return [tag("script", Html(chart_library())), tag("script", Html(_DRAW % json.dumps(CONFIG)))]
