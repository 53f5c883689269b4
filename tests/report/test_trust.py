from __future__ import annotations

from pathlib import Path

from isoflop.core.journal import Stamped
from isoflop.core.records import Alert, Audited, Record, RolledBack, Saved
from isoflop.report.trust import trust
from isoflop.report.view import Study


def study_of(*records: Record) -> Study:
    return Study(Path("x"), {}, {}, None, None, None, None, [Stamped(1e9 + i, each) for i, each in enumerate(records)])


def test_a_study_without_such_records_has_no_table() -> None:
    assert trust(study_of()) is None


def test_every_row_by_hand() -> None:
    html = str(
        trust(
            study_of(
                Saved("target", 10, 24_000_000, 0.01, 0.2),
                Saved("target", 20, 24_000_000, 0.03, 0.4),
                RolledBack("target", 15, 10, "nan", [12], 4.0),
                Audited("target", 20, 10, "same", 1.0),
                Audited("target", 40, 20, "live", 2.0),
                Alert("target", 30, "slow", "40% of the usual"),
            )
        )
    )
    assert "2 of 24.0 MB; training waited 20.0 ms for each, the disk took 300 ms beside it" in html
    assert "1 times (nan), 4.00 s of training" in html
    assert "30; 50.0 % of 2 replays with equal bits" in html
    assert "Alert: slow" in html and "at step 30: 40% of the usual" in html
