"""Answers as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isoflop.core.budget import format_seconds, format_si


def plan_lines(answer: dict[str, Any]) -> str:
    """The plan for a person."""
    chosen, lines = answer["chosen"], []
    bits = chosen["bits_per_byte"]
    lines.append(
        f"{answer['budget']} ({format_seconds(answer['budget_seconds'])}) buys "
        f"{format_si(chosen['num_parameters']['all'])} parameters "
        f"({chosen['num_layers']} layers, width {chosen['hidden_size']}) "
        f"on {format_si(chosen['tokens'])} tokens ({chosen['epochs']:.1f} epochs):"
    )
    lines.append(f"  {bits['central']:.3f} bits per byte [{bits['low']:.3f}, {bits['high']:.3f}] at 90 %")
    lines.append(f"  for {format_seconds(answer['seconds']['central'])}, {', '.join(_costs(answer))}")
    for other in answer["what_if"][1:]:
        bits = other["bits_per_byte"]
        lines.append(
            f"  {format_seconds(other['budget_seconds'])} would buy {bits['central']:.3f} "
            f"[{bits['low']:.3f}, {bits['high']:.3f}]"
        )
    lines += [f"  warning [{warning['code']}]: {warning['message']}" for warning in answer["warnings"]]
    return "\n".join(lines)


def _costs(answer: dict[str, Any]) -> Iterator[str]:
    for key, unit in (("kwh", "kWh"), ("grams_co2e", "g CO2e"), ("dollars", "dollars")):
        if (cost := answer[key]) is not None:
            yield f"{cost['central']:.3g} {unit} [{cost['low']:.3g}, {cost['high']:.3g}]"


def sweep_lines(answer: dict[str, Any]) -> str:
    """The losses of a sweep for a person."""
    lines = [f"{'run':<12} {'tokens':>8} {'loss':>7} {'bits per byte':>14}"]
    lines += [
        f"{each['run']:<12} {format_si(each['tokens']):>8} {each['loss']:>7.3f} {each['bits_per_byte']:>14.3f}"
        for each in answer["losses"]
    ]
    lines.append(
        f"{answer['num_runs']} runs in {format_seconds(answer['seconds'])}; next: isoflop fit {answer['points']}"
    )
    lines += [f"  warning [{warning['code']}]: {warning['message']}" for warning in answer["warnings"]]
    return "\n".join(lines)


def machine_lines(machine: dict[str, Any]) -> str:
    """The machine for a person."""
    peaks = machine["matmul_flops_per_second"]
    watts = machine["power"]["active_watts_per_core"]
    lines = [
        f"{machine['cpu']}, {machine['num_cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"torch {machine['torch_version']}",
        f"matrix products: {format_si(peaks['bfloat16'])}FLOP/s in bfloat16, "
        f"{format_si(peaks['float32'])}FLOP/s in float32",
        f"training in {machine['dtype']}; step times vary by {machine['noise']:.1%}",
        f"power ({machine['power']['method']}): {watts['central']:.2f} W a busy core "
        f"[{watts['low']:.2f}, {watts['high']:.2f}]: {machine['power']['source']}",
        "layers x width   batch tokens   tokens/s",
    ]
    lines += [
        f"  {t['num_layers']} x {t['hidden_size']:<10} {t['batch_tokens']:>10}   "
        f"{t['batch_tokens'] / t['seconds']:>10,.0f}  ({t['dtype']})"
        for t in machine["timings"]
    ]
    return "\n".join(lines)


def fit_lines(answer: dict[str, Any]) -> str:
    """A fitted law for a person."""
    lines = [f"{answer['num_points']} runs, {answer['form']} first, in {answer['seconds']:.1f} s"]
    lines += ["form                  weight   error at costlier runs   runs"]
    for each in answer["forms"]:
        error = each["extrapolation_error"]
        told = "not tested" if error is None else f"{error:.2%}"
        counted = {"whole": "all", "near": "those near the frontier"}.get(each["belief"], "all alike")
        lines.append(f"  {each['form']:<20}{each['weight']:>6.2f}   {told:<22}   {counted}")
    lines.append(f"{answer['form']}{'estimate':>22}{'se':>12}   95 % interval")
    for name, value in answer["parameters"].items():
        low, high = (("none" if bound is None else f"{bound:.4g}") for bound in answer["intervals"][name])
        lines.append(f"  {name:<20}{value:>10.4g}{answer['standard_errors'][name]:>12.3g}   [{low}, {high}]")
    certified = "certified" if answer["converged"] else "NOT CONVERGED"
    lines.append(
        f"objective {answer['objective']:.6g}, {certified}; optima met {answer['num_basins']}, "
        f"condition {answer['condition_number']:.2g}; residuals {answer['residual_sd']:.2%}"
    )
    if read := answer.get("isoflop"):
        lines.append(
            f"best size by groups of equal FLOPs: N* ~ C^{read['exponent']:.3f}{_of_which(read['exponent_bias'])}; "
            f"{len(read['minima'])} groups, {len(read['refused'])} refused"
        )
    if read := answer.get("envelope"):
        lines.append(
            f"best size by the envelope of the curves: N* ~ C^{read['exponent']:.3f}; the least of noisy curves stood "
            f"up to {-read['largest_bias']:.1%} too low, which is taken off"
        )
    for place in answer.get("predictions", []):
        lines.append(
            f"  N {format_si(place['params'])} D {format_si(place['tokens'])}: "
            f"{place['loss']:.4f} [{place['low']:.4f}, {place['high']:.4f}] at 90 %"
        )
    for run in answer.get("next", []):
        size, tokens = format_si(run["params"]), format_si(run["tokens"])
        lines.append(f"  do next: N {size} D {tokens} ({run['flops']:.3g} FLOPs; {run['row']} of the pool)")
    lines += [f"  warning [{warning['code']}]: {warning['message']}" for warning in answer["warnings"]]
    return "\n".join(lines)


def _of_which(bias: float | None) -> str:
    return "" if bias is None else f", of which the reading's own bias is {bias:+.3f}"


def _between(sizes: list[float] | None) -> str:
    return f" (best size {format_si(sizes[0])} to {format_si(sizes[1])} at 90 %)" if sizes else ""


def _ends(interval: list[float | None], form: str) -> str:
    """`` [low, high]`` as a person reads it, in the given format."""
    low, high = ("no end" if end is None else format(end, form) for end in interval)
    return f" [{low}, {high}]"


def optimum_lines(answer: dict[str, Any]) -> str:
    """The best size for a person."""
    size, tokens = format_si(answer["params"]), format_si(answer["tokens"])
    lines = [
        f"{answer['flops']:.3g} FLOPs buy {size} parameters on {tokens} tokens{_between(answer['params_interval'])}:",
        f"  {answer['loss']:.4f} nats per token [{answer['low']:.4f}, {answer['high']:.4f}] at 90 %",
    ]
    if (half := answer["flops_of_half_the_size"]) is not None:
        ends = _ends([end and end / answer["flops"] for end in answer["flops_of_half_the_size_interval"]], ".2f")
        price = f"{half / answer['flops']:.2f}{ends}"
        lines.append(f"  half the size, trained to the same loss, costs {price} times as much")
    from_flops = answer["diminishing_from_flops"]
    if from_flops is not None:
        ends = _ends(answer["diminishing_from_flops_interval"], ".3g")
        lines.append(f"  from {from_flops:.3g}{ends} FLOPs a doubling gains less than 1 % of the loss")
    lines += [f"  warning [{warning['code']}]: {warning['message']}" for warning in answer["warnings"]]
    return "\n".join(lines)


def prepared_lines(answer: dict[str, Any]) -> str:
    """A prepared text for a person: the funnel, largest loss first."""
    lines = [_funnel_line("read", answer["num_read"], answer["bytes_read"])]
    lines += [
        _funnel_line(f"- {reason.replace('_', ' ')}", count, answer["dropped_bytes"][reason])
        for reason, count in sorted(answer["dropped"].items(), key=lambda item: -answer["dropped_bytes"][item[0]])
    ]
    lines.append(_funnel_line("kept", answer["num_documents"], answer["num_bytes"]))
    for what in ("refused", "mended", "redacted", "languages"):
        if found := answer[what]:
            lines.append(
                f"{what}: " + ", ".join(f"{count:,} {kind}".replace("_", " ") for kind, count in found.items())
            )
    lines += [f"  {told}" for told in answer["refusals"]]
    lines += [
        f"benchmark {name}: {each['num_found']:,} of {each['num_items']:,} items stood in the text"
        for name, each in answer["benchmarks"].items()
    ]
    lines += [
        f"source {each['source']}: {each['share']:.1%} of the text, {each['used']:.1%} of it used"
        for each in answer["mixture"]
    ]
    if "tokens" in answer:
        train, val, test = (format_si(answer["tokens"][name]).strip() for name in ("train", "val", "test"))
        lines.append(
            f"{train} tokens to train on, {val} and {test} held out; vocabulary {answer['vocab_size']:,}, "
            f"{answer['tokens_per_byte']:.3f} tokens a byte"
        )
        lines += [f"warning [{warning['code']}]: {warning['message']}" for warning in answer["warnings"]]
    took = f"{format_seconds(answer['cpu_seconds'])} of CPU time, {answer['joules']:.3g} J"
    return "\n".join([*lines, f"took {took}", *([f"{answer['out']}/card.html"] if "out" in answer else [])])


def _funnel_line(what: str, count: int, num_bytes: int) -> str:
    return f"{what:<32} {count:>12,} documents {num_bytes / 1e6:>12,.3f} MB"


def document_lines(answer: dict[str, Any]) -> str:
    """One document for a person."""
    where = " ".join(filter(None, (answer["file"], answer["place"])))
    return f"document {answer['document']} of {answer['shard']}, from {where}\n\n{answer['text']}"


def judge_lines(answer: dict[str, Any]) -> str:
    """A judge of quality for a person."""
    return (
        f"{answer['out']}: of {answer['num_good']} good and {answer['num_bad']} bad documents, each judged by what was "
        f"learned without it, {answer['accuracy_left_out']:.0%} are told apart"
    )
