"""Whole runs that somebody did, and what a person can get wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from isoflop import cli
from isoflop.core.errors import BudgetError
from isoflop.estimate.devices import find_device
from isoflop.estimate.estimate import Terms, affordable, estimate
from isoflop.estimate.parallel import Training
from isoflop.estimate.shapes import Shape, read_shape, shape_of_size
from isoflop.estimate_verbs import estimate as estimate_verb
from isoflop.estimate_verbs import estimate_lines

ASKED: dict[str, Any] = {
    "params": 7e9,
    "model": None,
    "tokens": 2e11,
    "device": "h100",
    "num_devices": 64,
    "devices": None,
    "context": None,
    "batch_tokens": None,
    "optimizer": "adamw",
    "fp8": False,
    "deadline": None,
    "max_cost": None,
    "price_per_hour": None,
    "spot": False,
    "grid": "world",
    "market_grams": None,
    "pue": None,
}


@pytest.mark.parametrize(
    ("size", "tokens", "device", "count", "context", "batch", "device_hours"),
    [
        (65e9, 1.4e12, "a100", 2048, 2048, 2048, 1_022_362),  # LLaMA, Touvron et al. 2023, table 15
        (405e9, 15.6e12, "h100", 16_384, 8192, 2048, 30.84e6),  # Llama 3.1's model card
    ],
)
def test_published_device_hours_are_within(
    size: float, tokens: float, device: str, count: int, context: int, batch: int, device_hours: float
) -> None:
    training = Training(shape_of_size(size, context=context), batch, context)
    found = estimate(training, tokens, find_device(device), count, Terms(400.0))
    assert found.device_hours.contains(device_hours)


def test_the_bill_adds_up() -> None:
    answer = estimate_verb(**ASKED)
    (each,) = answer["estimates"]
    hours, good = each["hours"]["central"], each["goodput"]
    assert hours * good["productive"] == pytest.approx(each["num_steps"] * each["step_seconds"]["central"] / 3600)
    assert each["device_hours"]["central"] == pytest.approx(64 * hours)
    assert each["dollars"]["central"] == pytest.approx(2.95 * 64 * hours)
    assert each["grams_co2e"]["central"] == pytest.approx(475 * each["kwh"]["building"]["central"])
    assert each["memory_bytes"]["total"] < each["memory_bytes"]["device"]
    assert "Nebius" in estimate_lines(answer) and "interruptions" in estimate_lines(answer)
    json.dumps(answer)


def test_prices_of_ones_own_and_of_spots() -> None:
    usual, spot, own = (
        estimate_verb(**(ASKED | change))["estimates"][0]["dollars"]["central"]
        for change in ({}, {"spot": True}, {"price_per_hour": 1.0})
    )
    assert own < spot < usual


def test_carbon_by_place_by_contract_and_of_the_machines_apart() -> None:
    usual, green = (estimate_verb(**(ASKED | {"market_grams": grams})) for grams in (None, 0.0))
    assert usual["estimates"][0]["market_grams_co2e"] is None
    assert green["estimates"][0]["market_grams_co2e"]["central"] == 0.0
    assert green["estimates"][0]["grams_co2e"] == usual["estimates"][0]["grams_co2e"]
    assert "market-based 0 [0, 0]" in estimate_lines(green) and "making the machines" in estimate_lines(usual)


def test_a_search_keeps_deadline_and_cost_and_begins_with_the_cheapest() -> None:
    change = {"device": None, "num_devices": None, "deadline": "30d", "max_cost": 1e5}
    found = estimate_verb(**(ASKED | change))["estimates"]
    priced = [each for each in found if each["dollars"]]
    assert len(priced) > 3 and found[: len(priced)] == priced
    costs = [each["dollars"]["central"] for each in priced]
    assert costs == sorted(costs) and costs[-1] <= 1e5
    assert all(each["hours"]["central"] <= 30 * 24 for each in found)


def test_a_search_that_finds_nothing_says_so() -> None:
    with pytest.raises(BudgetError, match="no number of devices"):
        affordable(
            Training(shape_of_size(7e9, context=4096), 512, 4096), 2e11, [find_device("v100")], Terms(1.0), hours=1
        )


def test_a_search_for_fewer_tokens_than_a_batch_says_that() -> None:
    with pytest.raises(BudgetError, match="--tokens: 1000 tokens are less than a batch of 2,097,152"):
        affordable(Training(shape_of_size(7e9, context=4096), 512, 4096), 1e3, [find_device("h100")], Terms(1.0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"params": None}, "--params: a model of which size"),
        ({"params": 1e3}, "--params: 1000 parameters"),
        ({"params": float("nan")}, "--params: nan is no amount"),
        ({"tokens": 0.0}, "--tokens: 0 is no amount"),
        ({"tokens": 1e5, "batch_tokens": 2e5}, "--tokens: 100000 tokens are less than a batch of 200,704"),
        ({"device": "h10000"}, "--device: unknown device"),
        ({"device": None}, "--device: devices of which kind"),
        ({"price_per_hour": 0.0}, "--price-per-hour: 0 is no amount"),
        ({"market_grams": -1.0}, "--market-grams: -1 g/kWh"),
        ({"pue": 0.5}, "--pue: a PUE of 0.5"),
        ({"grid": "FRX"}, "unknown grid 'FRX'"),
        ({"deadline": "5kWh"}, "--deadline: '5kWh' is no time"),
        ({"deadline": "1h"}, "--deadline: .* over the deadline"),
        ({"max_cost": 10.0}, "--max-cost: .* dollars too dear"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg'"),
        ({"num_devices": 7}, "cannot be divided over 7 devices"),
        ({"params": 4e11, "num_devices": 8}, "does not fit"),
        ({"model": Path("/nowhere/config.json"), "params": None}, "/nowhere/config.json: no model configuration"),
    ],
)
def test_bad_input_is_one_message_that_says_where(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BudgetError, match=told):
        estimate_verb(**(ASKED | change))


def test_a_hugging_face_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    value = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14_336,
        "max_position_embeddings": 131_072,
    }
    path.write_text(json.dumps(value))
    shape = read_shape(path, context=8192)
    assert isinstance(shape, Shape) and shape.max_position_embeddings == 8192
    from isoflop.model.count import count_parameters

    assert count_parameters(shape).all == 8_030_261_248  # Llama 3.1 8B's card
    path.write_text(json.dumps(value | {"architectures": ["Other"]}))
    with pytest.raises(BudgetError, match=str(path)):
        read_shape(path)


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = "isoflop estimate --params 7e9 --tokens 2e11 --device h100 --num-devices 64 --json"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["estimates"][0]["num_devices"] == 64
