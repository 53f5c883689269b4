import io

import pytest
from rich.console import Console

from isoflop.core.progress import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain(clock: Clock, *, left: float = 300.0, quiet: bool = False) -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=40)
    return Progress(remaining=lambda: left, quiet=quiet, console=console, clock=clock), out


def test_plain_lines_come_at_most_every_ten_seconds() -> None:
    clock = Clock()
    progress, out = plain(clock)
    with progress:
        progress.stage("pilots")
        for second in range(1, 31):
            clock.now = float(second)
            progress.update(second / 40, loss=4.0 - second / 100, tokens_per_second=51_234.0, share_of_peak=0.423)
    assert out.getvalue().splitlines() == [
        "pilots · 5 min of budget left",
        "pilots · 25% · loss 3.900 · 51.2 ktok/s · 42% of peak · 5 min of budget left · stage ends in 30 s",
        "pilots · 50% · loss 3.800 · 51.2 ktok/s · 42% of peak · 5 min of budget left · stage ends in 20 s",
        "pilots · 75% · loss 3.700 · 51.2 ktok/s · 42% of peak · 5 min of budget left · stage ends in 10 s",
    ]


def test_a_new_stage_starts_afresh() -> None:
    clock = Clock()
    progress, out = plain(clock, left=-90.0)
    progress.stage("pilots")
    progress.update(0.5, loss=3.0, run="p-01", num_pilots=3.0)
    clock.now = 12.0
    progress.update(None)
    progress.stage("law")
    assert out.getvalue().splitlines()[1:] == [
        "pilots · loss 3.000 · run p-01 · num pilots 3 · 1.5 min over budget",
        "law · 1.5 min over budget",
    ]


def test_a_budget_not_known_in_time_yet_is_left_out() -> None:
    progress, out = plain(Clock(), left=float("inf"))
    progress.stage("measure")
    assert out.getvalue() == "measure\n"


def test_notes_print_as_they_are() -> None:
    progress, out = plain(Clock())
    note = "no text given: using [bold]the demo corpus[/], 8.2 MB, longer than the console is wide"
    progress.note(note)
    assert out.getvalue() == note + "\n"


def test_quiet_is_silent() -> None:
    clock = Clock()
    progress, out = plain(clock, quiet=True)
    with progress:
        progress.stage("pilots")
        clock.now = 60.0
        progress.update(0.5, loss=1.0)
        progress.note("a warning")
    assert out.getvalue() == ""


def test_a_terminal_gets_a_live_line() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with Progress(remaining=lambda: 300.0, console=console, clock=Clock()) as progress:
        progress.stage("run")
        progress.update(0.25, loss=2.5)
        drawn = progress.__rich__().plain
        progress.note("saved a checkpoint")
    assert drawn.startswith("━" * 6 + "╌" * 18 + " run · 25% · loss 2.500")
    assert "saved a checkpoint" in out.getvalue()


def test_everything_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(remaining=lambda: 300.0) as progress:
        progress.stage("law")
        progress.note("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err
