from __future__ import annotations

from isoflop.core.process import process_age


def test_a_process_knows_its_age() -> None:
    first = process_age()
    assert 0 < first <= process_age() < 24 * 3600
