import json
from pathlib import Path

import pytest

from isoflop.core.errors import BudgetError
from isoflop.machine.grid import GridFactor, grams_per_kwh

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "energy" / "codecarbon_global_energy_mix.json"


@pytest.mark.parametrize("grid", ["FRA", "fra", "FR", "France", " france "])
def test_a_country_by_code_or_name(grid: str) -> None:
    factor = grams_per_kwh(grid)
    assert (factor.code, factor.name, factor.grams_co2e_per_kwh, factor.year) == ("FRA", "France", 56.0, 2023)
    assert "Our World in Data" in factor.source


def test_the_default_is_the_world() -> None:
    assert grams_per_kwh() == grams_per_kwh("World")
    assert grams_per_kwh().grams_co2e_per_kwh == 475.0
    assert "IEA" in grams_per_kwh().source


def test_codes_that_look_like_something_else() -> None:
    assert grams_per_kwh("NA").name == "Namibia"
    assert grams_per_kwh("USA").grams_co2e_per_kwh == pytest.approx(369.5, abs=0.1)


def test_a_number_is_taken_as_given() -> None:
    assert grams_per_kwh("56.5") == GridFactor("user", "given by the user", 56.5, None, "the command line")
    assert grams_per_kwh("0").grams_co2e_per_kwh == 0.0


@pytest.mark.parametrize("grid", ["-5", "nan", "inf", "1e999"])
def test_numbers_that_are_none(grid: str) -> None:
    with pytest.raises(BudgetError, match="no number of grams"):
        grams_per_kwh(grid)


@pytest.mark.parametrize(
    ("grid", "guess"), [("Frnce", "FRA (France)"), ("Germny", "DEU (Germany)"), ("wrld", "world (World average)")]
)
def test_an_unknown_grid_names_its_neighbours(grid: str, guess: str) -> None:
    with pytest.raises(BudgetError) as caught:
        grams_per_kwh(grid)
    assert f"--grid: unknown grid {grid!r}. Did you mean " in str(caught.value)
    assert guess in str(caught.value)


@pytest.mark.parametrize("grid", ["", "qqqqqqqq"])
def test_a_grid_like_no_other_gets_no_guess(grid: str) -> None:
    with pytest.raises(BudgetError, match="unknown grid") as caught:
        grams_per_kwh(grid)
    assert "Did you mean" not in str(caught.value)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data/energy/codecarbon_global_energy_mix.json")
def test_the_table_holds_every_figure_of_its_source() -> None:
    mix = json.loads(SHARED.read_text())
    compared = {code: row for code, row in mix.items() if row["carbon_intensity"]}
    assert len(compared) == 212
    for code, row in compared.items():
        factor = grams_per_kwh(code)
        assert factor.code == code
        assert factor.year == row["year"]
        assert factor.grams_co2e_per_kwh == pytest.approx(row["carbon_intensity"], abs=0.051)
        assert grams_per_kwh(row["country_name"]) == factor
