"""`isoflop watch`: the screen of a study again and again until the study ends, and for Prometheus on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from isoflop.core.errors import IsoflopError
from isoflop.core.journal import is_last, records_from
from isoflop.core.products import Machine, Plan
from isoflop.machine.readings import read_machine
from isoflop.study import Study
from isoflop.watch.screen import Frame, Seen, gauges, screen

SECONDS = 1.0
"""Between two screens."""
GLANCE = 0.3
"""Before the first, over which the cores' shares are counted."""
LOOPBACK = "127.0.0.1"


class Watch:
    """A study that somebody looks at."""

    def __init__(self, study: Study) -> None:
        self.study, self.seen, self.ended = study, Seen(), False
        self._offset, self.gauges = 0, ""
        self._machine: Machine | None = None
        given = study.given
        self.frame = Frame(study.folder.name, given.budget_seconds, None, None, read_machine(study.folder))
        time.sleep(GLANCE)

    def look(self) -> Group:
        """Reads what is new, and draws."""
        found, self._offset = records_from(self.study.records, self._offset)
        self.seen.add(found)
        self.ended = self.ended or any(is_last(stamped.record) for stamped in found)
        self.frame = replace(
            self.frame,
            peak_flops=self._peak(),
            plan=self.frame.plan or self._plan(),
            readings=read_machine(self.study.folder),
        )
        self.gauges = gauges(self.seen, self.frame)
        return screen(self.seen, self.frame)

    def _plan(self) -> Plan | None:
        return self.study.plan if self.study.has("plan.json") else None

    def _peak(self) -> float | None:
        if not self.study.has("machine.json"):
            return None
        self._machine = self._machine or self.study.machine
        peak = max(self._machine.matmul_flops_per_second.values())
        return peak * self._machine.num_devices(self.seen.num_processes)


def watch(folder: Path, *, once: bool, port: int | None, console: Console | None = None) -> Watch:
    """Shows the study in ``folder`` until it ends (``once``: as it is now); at ``port`` its gauges can be asked for.

    Without a terminal there is one screen, and with a port it goes on unseen.

    Raises `StudyError` for what is no study, `IsoflopError` for a port that is taken.
    """
    console = console or Console()
    watched = Watch(Study(folder))
    first = watched.look()
    if once or not console.is_terminal:
        console.print(first)
    if once or not (console.is_terminal or port):
        return watched
    with _served(lambda: watched.gauges, port), _shown(first, console) as show:
        while not watched.ended:
            time.sleep(SECONDS)
            show(watched.look())
    return watched


@contextmanager
def _shown(first: Group, console: Console) -> Iterator[Callable[[Group], None]]:
    """What puts another screen in place of the one before; nothing where there is no terminal."""
    if not console.is_terminal:
        yield lambda _: None
        return
    with Live(first, console=console, auto_refresh=False) as live:
        yield lambda next_one: live.update(next_one, refresh=True)


@contextmanager
def _served(text: Callable[[], str], port: int | None) -> Iterator[None]:
    """Within the block ``text`` is what http://127.0.0.1:port answers, to this machine alone."""
    if port is None:
        yield
        return

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: the screen is taken."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Answer)
    except OSError as error:
        what, remedy = f"port {port} cannot be used ({error.strerror})", "Take another --prometheus port"
        raise IsoflopError(what, where="--prometheus", remedy=remedy) from error
    threading.Thread(target=server.serve_forever, name="prometheus", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
