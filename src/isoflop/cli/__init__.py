"""The command line: verbs and their options; what they do is in ``verbs.py`` and the modules beside it."""

from __future__ import annotations

import atexit
import gc
import signal
import sys

import typer

from isoflop.cli import estimates, laws, studies, texts
from isoflop.core.errors import IsoflopError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Text and a budget in; the best language model that budget buys, and the proof, out.",
    epilog="Example:  isoflop run my-texts/ --budget 30min --out study",
)
for verbs in (studies, laws, estimates, texts):  # as --help lists them
    app.add_typer(verbs.app)


def main() -> None:
    """Entry point: a person's mistakes become one line on stderr and exit code 2; SIGTERM is as good as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    atexit.register(gc.freeze)  # or all there is would be looked through for cycles once more: up to half a second
    try:
        app()
    except IsoflopError as error:
        typer.echo(f"isoflop: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
