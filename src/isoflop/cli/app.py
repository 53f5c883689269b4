"""The command line's application, to which the modules beside this one add their verbs."""

from __future__ import annotations

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Text and a budget in; the best language model that budget buys, and the proof, out.",
    epilog="Example:  isoflop run my-texts/ --budget 30min --out study",
)
