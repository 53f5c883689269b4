"""The command line: verbs and their options; what they do is in ``verbs.py`` and the modules beside it."""

from __future__ import annotations

import signal
import sys

import typer

from isoflop.cli import laws, studies, texts  # noqa: F401  (they add their verbs; --help lists them in this order)
from isoflop.cli.app import app
from isoflop.core.errors import IsoflopError


def main() -> None:
    """Entry point: a person's mistakes become one line on stderr and exit code 2; SIGTERM is as good as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except IsoflopError as error:
        typer.echo(f"isoflop: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
