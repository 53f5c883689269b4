from __future__ import annotations

import pytest

from isoflop.core.products import Interval
from isoflop.estimate.bill import EMBODIED_GRAMS, energy_of, exactly, product, published_kwh


@pytest.mark.parametrize(
    ("hours", "watts", "pue", "kwh"),
    [(82_432, 400, 1.1, 36_270), (1_022_362, 400, 1.1, 449_839), (10_000 * 14.8 * 24, 330, 1.10, 1_289_376)],
)
def test_published_energy(hours: float, watts: float, pue: float, kwh: float) -> None:
    """LLaMA 7B and 65B (Touvron et al. 2023, table 15) and GPT-3 (Patterson et al. 2021, table 4)."""
    assert published_kwh(hours, watts, pue) == pytest.approx(kwh, rel=1e-4)


def test_blooms_embodied_carbon() -> None:
    """11.2 t in 1,082,990 GPU-hours (Luccioni et al. 2022, table 3)."""
    assert 1_082_990 * EMBODIED_GRAMS.central / 1e6 == pytest.approx(11.2, abs=0.05)


def test_independent_spreads_add_in_quadrature() -> None:
    found = product(Interval(2.0, 1.0, 4.0), Interval(3.0, 1.5, 6.0), exactly(5.0))
    assert found.central == 30.0
    assert found.high == pytest.approx(30 * 2 ** (2**0.5)) and found.low == pytest.approx(30 / 2 ** (2**0.5))


def test_energy_grows_from_device_to_building() -> None:
    energy = energy_of(exactly(1000.0), 700.0)
    assert energy.devices.central < energy.nodes.central < energy.building.central
    for part in (energy.devices, energy.nodes, energy.building):
        assert part.low < part.central < part.high
    told = energy_of(exactly(1000.0), 700.0, pue=1.1)
    assert told.building.central == pytest.approx(1.1 * told.nodes.central)
    assert told.grams_co2e(56.0).central == pytest.approx(56 * told.building.central)
    assert told.building.high / told.building.central < energy.building.high / energy.building.central
