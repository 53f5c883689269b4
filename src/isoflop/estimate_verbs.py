"""What `isoflop estimate` does; imported only by the verb that is called."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isoflop.core import codec
from isoflop.core.budget import Budget, format_seconds, format_si
from isoflop.core.errors import BudgetError
from isoflop.estimate.devices import Device, find_device, names
from isoflop.estimate.estimate import Estimate, Terms, affordable
from isoflop.estimate.estimate import estimate as estimate_run
from isoflop.estimate.memory import OPTIMIZER_BYTES
from isoflop.estimate.parallel import Training
from isoflop.estimate.shapes import Shape, read_shape, shape_of_size
from isoflop.machine.grid import grams_per_kwh
from isoflop.model.count import count_parameters
from isoflop.plan.rules import optimal_batch

USUAL_CONTEXT = 4096


def estimate(
    *,
    params: float | None,
    model: Path | None,
    tokens: float,
    device: str | None,
    num_devices: int | None,
    devices: Path | None,
    context: int | None,
    batch_tokens: float | None,
    optimizer: str,
    fp8: bool,
    deadline: str | None,
    max_cost: float | None,
    price_per_hour: float | None,
    spot: bool,
    grid: str,
    market_grams: float | None,
    pue: float | None,
) -> dict[str, Any]:
    """What a run on a cluster would take, or, without a number of devices, which would do it in time and money."""
    training = _training(_shape(params, model, context), _positive(tokens, "--tokens"), batch_tokens, optimizer, fp8)
    price = None if price_per_hour is None else _positive(price_per_hour, "--price-per-hour")
    if pue is not None and not 1 <= pue < 10:
        raise BudgetError(f"a PUE of {pue:g}", where="--pue", remedy="It is 1 or more: 1.2, say")
    if market_grams is not None and not 0 <= market_grams < math.inf:
        raise BudgetError(f"{market_grams:g} g/kWh", where="--market-grams", remedy="Give zero or more")
    terms = Terms(grams_per_kwh(grid).grams_co2e_per_kwh, market_grams, price, spot, pue)
    if num_devices is not None:
        found = [estimate_run(training, tokens, _device(device, devices), num_devices, terms)]
        _require_kept(found[0], deadline, max_cost)
    else:
        asked = [_device(device, devices)] if device else [find_device(name, devices) for name in names(devices)]
        found = affordable(
            training, tokens, asked, terms, hours=_hours(deadline), dollars=math.inf if max_cost is None else max_cost
        )
    return {"model": _told_shape(training), "tokens": tokens, "grid": grid} | {
        "estimates": [_told(each) for each in found]
    }


def _shape(params: float | None, model: Path | None, context: int | None) -> Shape:
    if (params is None) == (model is None):
        raise BudgetError(
            "a model of which size?", where="--params", remedy="Give --params 7e9, or --model config.json"
        )
    if model is not None:
        return read_shape(model, context=context)
    assert params is not None
    return shape_of_size(_positive(params, "--params"), context=context or USUAL_CONTEXT)


def _training(shape: Shape, tokens: float, batch_tokens: float | None, optimizer: str, fp8: bool) -> Training:
    """Batches of Step Law's optimum unless given, in powers of two of sequences, which divide well."""
    if optimizer not in OPTIMIZER_BYTES:
        raise BudgetError(f"unknown optimizer {optimizer!r}", remedy=f"Take one of {', '.join(OPTIMIZER_BYTES)}")
    context = shape.max_position_embeddings
    wanted = optimal_batch(tokens) if batch_tokens is None else _positive(batch_tokens, "--batch-tokens")
    sequences = 1 << max(0, round(math.log2(wanted / context))) if batch_tokens is None else round(wanted / context)
    return Training(shape, max(1, sequences), context, optimizer, fp8)


def _device(name: str | None, devices: Path | None) -> Device:
    if name is None:
        raise BudgetError("devices of which kind?", where="--device", remedy=f"One of {', '.join(names(devices))}")
    return find_device(name, devices)


def _positive(value: float, where: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise BudgetError(f"{value:g} is no amount", where=where, remedy="Give a number above zero")
    return value


def _hours(deadline: str | None) -> float:
    if deadline is None:
        return math.inf
    budget = Budget.parse(deadline)
    if budget.unit != "s":
        raise BudgetError(f"{deadline!r} is no time", where="--deadline", remedy="Write 30d, 12h or 90min")
    return budget.amount / 3600


def _require_kept(found: Estimate, deadline: str | None, max_cost: float | None) -> None:
    """Raises `BudgetError` where deadline or cost cannot be kept, by how much, before anything is started."""
    hours, cost = found.hours.central, found.dollars
    if hours > _hours(deadline):
        over = format_seconds(3600 * (hours - _hours(deadline)))
        raise BudgetError(f"{over} over the deadline", where="--deadline", remedy="Leave --num-devices out to search")
    if max_cost is not None and cost is not None and cost.central > max_cost:
        over = format_si(cost.central - max_cost)
        raise BudgetError(f"{over} dollars too dear", where="--max-cost", remedy="Leave --num-devices out to search")


def _told_shape(training: Training) -> dict[str, Any]:
    config = training.config
    return {
        "num_parameters": codec.encode(count_parameters(config)),
        "num_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "context": training.context,
        "batch_tokens": training.batch * training.context,
    }


def _told(each: Estimate) -> dict[str, Any]:
    """As JSON values."""
    memory, time = each.layout.memory, each.layout.time
    return {
        "device": each.device.name,
        "num_devices": each.num_devices,
        "division": codec.encode(each.layout.division),
        "memory_bytes": codec.encode(memory) | {"total": memory.total, "device": each.device.memory_bytes},
        "step_seconds": codec.encode(each.step_seconds) | {"parts": codec.encode(time)},
        "num_steps": each.num_steps,
        "flops": each.flops,
        "mfu": each.mfu,
        "goodput": codec.encode(each.goodput),
        "num_interruptions": each.num_interruptions,
        "remedies": {name: found.productive for name, found in each.remedies.items()},
        "hours": codec.encode(each.hours),
        "device_hours": codec.encode(each.device_hours),
        "dollars": codec.encode(each.dollars),
        "price_source": each.device.price_source,
        "kwh": codec.encode(each.energy),
        "grams_co2e": codec.encode(each.grams_co2e),
        "market_grams_co2e": codec.encode(each.market_grams_co2e),
        "embodied_grams_co2e": codec.encode(each.embodied_grams_co2e),
    }


def estimate_lines(answer: dict[str, Any]) -> str:
    """For a person."""
    model, counts = answer["model"], answer["model"]["num_parameters"]
    lines = [
        f"{format_si(counts['all'])} parameters ({model['num_layers']} layers, width {model['hidden_size']}) on "
        f"{format_si(answer['tokens'])} tokens, batches of {format_si(model['batch_tokens'])} in sequences of "
        f"{model['context']:,}"
    ]
    found = answer["estimates"]
    lines += _lines(found[0])
    lines += [_line(each) for each in found[1:]]
    return "\n".join(lines)


def _line(each: dict[str, Any]) -> str:
    cost = f", {format_si(each['dollars']['central'])} dollars" if each["dollars"] else ""
    return f"or {each['num_devices']:,} x {each['device']}: {format_seconds(3600 * each['hours']['central'])}{cost}"


def _lines(each: dict[str, Any]) -> Iterator[str]:
    division, memory, parts = each["division"], each["memory_bytes"], each["step_seconds"]["parts"]
    total, named = sum(parts.values()), {name: seconds for name, seconds in parts.items() if seconds > 0}
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in named.items())
    yield f"{each['num_devices']:,} x {each['device']}: {_division(division)}"
    yield f"  memory: {memory['total'] / 1e9:.1f} of {memory['device'] / 1e9:.0f} GB a device"
    yield f"  a step: {_interval(each['step_seconds'])} s, {each['mfu']:.1%} of the peak as model FLOPs ({shares})"
    good = each["goodput"]
    yield (
        f"  {each['num_interruptions']:.3g} interruptions expected; {good['productive']:.1%} of the time is productive,"
        f" saving every {format_seconds(good['interval'])}"
    )
    yield f"  time: {_interval(each['hours'])} hours"
    if each["dollars"]:
        source = f" ({each['price_source']})" if each["price_source"] else ""
        yield f"  money: {_interval(each['dollars'])} dollars{source}"
    yield f"  energy: {_interval(each['kwh']['building'])} kWh, of which devices {_interval(each['kwh']['devices'])}"
    market = each["market_grams_co2e"]
    by_contract = f"; market-based {_interval(market, 1e-6)}" if market else ""
    yield f"  carbon: {_interval(each['grams_co2e'], 1e-6)} t CO2e, location-based{by_contract}"
    yield f"          and {_interval(each['embodied_grams_co2e'], 1e-6)} t for its share of making the machines"
    yield from (f"  {name}: {productive:.1%} productive" for name, productive in each["remedies"].items())


def _interval(value: dict[str, Any], unit: float = 1.0) -> str:
    central, low, high = (format_si(value[key] * unit).strip() for key in ("central", "low", "high"))
    return f"{central} [{low}, {high}]"


def _division(division: dict[str, Any]) -> str:
    kinds = {"none": "replicas", "optimizer": "replicas that share the optimizer (ZeRO-1)", "full": "shares (FSDP)"}
    parts = [f"{division['data']} {kinds[division['sharding']]}"]
    parts += [f"{kind} {division[kind]}" for kind in ("tensor", "pipeline", "context") if division[kind] > 1]
    again = "" if division["recompute"] == "none" else f", {division['recompute']} recomputation"
    return f"{' x '.join(parts)}, {division['micro_batch']} sequences at once{again}"
