"""CodeCarbon beside our own meter, where it is installed: what it makes of the same seconds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from isoflop.core.journal import read_records
from isoflop.core.records import EnergyChecked, Monitor

SECONDS = 10.0
"""Between two looks of its own."""
PATIENCE = 30.0
"""For one that does not come to its feet: what it looks for may hang."""
ANY_COUNTRY = "FRA"
"""It wants one for its carbon; we take its energy alone."""
JOULES_PER_KWH = 3.6e6


@contextmanager
def checked(records: Path, write: Callable[[EnergyChecked], None]) -> Iterator[None]:
    """Lets CodeCarbon meter the machine during the block, and writes what both made of it; nothing without it.

    It looks at the whole machine, ours at what our processes took: on a busy machine its figure is the larger one.
    Loading it takes this process a second or two, which are metered like everything else.
    """
    if importlib.util.find_spec("codecarbon") is None:
        yield
        return
    meter = _Meter()
    try:
        yield
    finally:
        found = meter.end()
        if found is not None:
            began, joules = found
            write(_beside(records, began, joules))


class _Meter:
    """Its tracker, without files, network or talk, begun in a thread, whose errors are no reason to end a run."""

    def __init__(self) -> None:
        self._tracker: Any = None
        self._began = 0.0
        self._thread = threading.Thread(target=self._begin, name="codecarbon", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        with suppress(Exception):
            from codecarbon import OfflineEmissionsTracker

            logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
            self._tracker = OfflineEmissionsTracker(
                country_iso_code=ANY_COUNTRY,
                tracking_mode="machine",
                measure_power_secs=SECONDS,
                save_to_file=False,
                save_to_api=False,
                allow_multiple_runs=True,
                log_level="critical",
            )
            self._tracker.start()
            self._began = time.time()

    def end(self) -> tuple[float, float] | None:
        """When it began, and joules since; None where it did not come to that."""
        self._thread.join(PATIENCE)
        if not self._began:
            return None
        with suppress(Exception):  # it hides its own errors, and then lacks what it should have
            self._tracker.stop()
            return self._began, JOULES_PER_KWH * self._tracker.final_emissions_data.energy_consumed
        return None


def _beside(records: Path, began: float, joules: float) -> EnergyChecked:
    """Ours of the same time: samples since, the first of which may have begun before."""
    samples = [
        stamped.record
        for stamped in read_records(records)
        if isinstance(stamped.record, Monitor) and stamped.time - stamped.record.seconds / 2 >= began
    ]
    return EnergyChecked(
        tool=f"CodeCarbon {importlib.metadata.version('codecarbon')}",
        joules=joules,
        seconds=time.time() - began,
        joules_low=math.fsum(sample.joules_low for sample in samples),
        joules_central=math.fsum(sample.joules_central for sample in samples),
        joules_high=math.fsum(sample.joules_high for sample in samples),
    )
