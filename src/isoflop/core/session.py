"""What every stage may use while it works: where to write records, book time, show progress, and the time left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from isoflop.core.ledger import Ledger
from isoflop.core.products import StudyWarning
from isoflop.core.progress import Progress
from isoflop.core.records import Record, Warned


@dataclass(frozen=True)
class Session:
    """One process's work on a study."""

    write: Callable[[Record], None]
    ledger: Ledger
    progress: Progress
    seconds_left: Callable[[], float]
    """Budgeted seconds that remain; negative when overrun."""

    def warn(self, stage: str, warning: StudyWarning) -> None:
        """Records a warning and shows it."""
        self.write(Warned(stage, warning.code, warning.message))
        self.progress.note(f"warning [{warning.code}]: {warning.message}")
