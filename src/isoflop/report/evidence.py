"""The sections that lay the evidence out: training, evaluation, text, machine, warnings, how to reproduce."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from isoflop.core.products import CorpusManifest, Interval, Machine
from isoflop.core.records import Evaluation, Monitor, Sampled, SessionStarted, Step
from isoflop.report import charts, view
from isoflop.report.html import Html, facts_table, figure, join, section, table, tag
from isoflop.report.numbers import bits, compact, percent, signed_percent, significant
from isoflop.report.sections import not_yet
from isoflop.report.trust import trust
from isoflop.report.view import Study


def training(study: Study) -> Html:
    title, anchor = "Training", "training"
    steps, evaluations = view.target_records(study, Step), view.validation(study)
    if not steps or study.manifest is None:
        body = [not_yet("the model has not been trained")]
    else:
        body = [_loss_figure(study, study.manifest, steps, evaluations)]
    small = [*_step_figures(study, steps), *_monitor_figures(study.all(Monitor))]
    safety = trust(study)
    return section(anchor, title, *body, tag("div", *small, class_="small-charts"), *([safety] if safety else []))


def _loss_figure(study: Study, manifest: CorpusManifest, steps: list[Step], evaluations: list[Evaluation]) -> Html:
    promised = study.plan.forecast.loss.scaled(manifest.val.bits_per_nat) if study.plan else None
    finding = f"Training loss after {compact(steps[-1].tokens)} tokens"
    if evaluations:
        reached = evaluations[-1].bits_per_byte
        finding = f"Validation reached {bits(reached)} bits per byte"
        if promised:
            place = "inside" if promised.contains(reached) else "outside"
            finding += (
                f", {place} the forecast of {bits(promised.central)} [{bits(promised.low)}, {bits(promised.high)}]"
            )
    note = "Blue: training loss and its mean. Orange: validation. Band at the end: the plan's forecast of it, 90 %."
    factor = manifest.train.bits_per_nat
    return figure(finding, charts.loss(steps, evaluations, factor, promised), note=note)


def _step_figures(study: Study, steps: list[Step]) -> Iterator[Html]:
    if not steps:
        return
    tokens = [float(step.tokens) for step in steps]
    rates = [step.learning_rate for step in steps]
    yield figure(
        f"Learning rate peaked at {max(rates):.3g}",
        charts.series(tokens, rates, x_title="tokens", y_title="learning rate", y_format=".2~g"),
    )
    speeds = [step.tokens_per_second for step in steps]
    typical = f"{compact(view.speed(study) or 0)} tokens/s, the median"
    yield figure(typical, charts.series(tokens, speeds, x_title="tokens", y_title="tokens/s"))
    dtype = study.target.dtype if study.target else ""
    peak = study.machine.matmul_flops_per_second.get(dtype) if study.machine else None
    if peak and study.machine and study.target:
        peak *= study.machine.num_devices(study.target.num_processes)
        shares = [step.flops_per_second / peak for step in steps]
        typical = f"{percent(sorted(shares)[len(shares) // 2], 0)} of the measured {dtype} matmul peak"
        yield figure(typical, charts.series(tokens, shares, x_title="tokens", y_title="share of peak", y_format="%"))


def _monitor_figures(samples: list[Monitor]) -> Iterator[Html]:
    samples = [sample for sample in samples if sample.seconds > 0]
    if not samples:
        return
    minutes, total = charts.minutes_of(samples), math.fsum(sample.seconds for sample in samples)
    busy = [sample.cpu_utilisation for sample in samples]
    mean = math.fsum(sample.cpu_utilisation * sample.seconds for sample in samples) / total
    yield figure(
        f"{percent(mean, 0)} of all cores busy",
        charts.series(minutes, busy, x_title="minutes of work", y_title="busy share", y_format="%"),
    )
    memory = [sample.memory_bytes / 1e9 for sample in samples]
    yield figure(
        f"{max(memory):.2f} GB at most",
        charts.series(minutes, memory, x_title="minutes of work", y_title="GB resident", y_format="~g"),
    )
    watts = math.fsum(sample.joules_central for sample in samples) / total
    yield figure(f"{significant(watts)} W on average", charts.power(samples))


def evaluation(study: Study) -> Html:
    title, anchor = "Evaluation on unseen documents", "evaluation"
    score = study.scored
    samples = {sample.prompt: sample for sample in study.all(Sampled)}.values()  # of a killed try, the last wins
    if score is None:
        return section(anchor, title, not_yet("the model has not been scored on the test documents"))
    finding = (
        f"{bits(score.bits_per_byte)} [{bits(score.bits_per_byte_low)}, {bits(score.bits_per_byte_high)}]"
        " bits per byte:"
        f" {signed_percent(score.bits_per_byte / score.xz_bits_per_byte - 1)} against xz"
    )
    note = f"{score.num_documents:,} test documents, {score.num_bytes:,} bytes; interval: 90 %, over documents."
    note += " Before training, counted trigrams were scored on them: that scaled the forecast, not the training."
    texts = [tag("blockquote", tag("b", sample.prompt), sample.text.removeprefix(sample.prompt)) for sample in samples]
    heading = [tag("h3", "Samples, unedited; the prompt in bold")] if texts else []
    return section(anchor, title, figure(finding, charts.yardsticks(score), note=note), *heading, *texts)


def text(study: Study) -> Html:
    title, anchor, manifest = "The text", "text", study.manifest
    if manifest is None:
        return section(anchor, title, not_yet("the text has not been prepared"))
    dropped = sum(manifest.num_dropped.values())
    sources = ", ".join(manifest.sources) + (" (the demo corpus)" if manifest.is_demo else "")
    funnel = [
        ["files read", f"{manifest.num_files:,}"],
        *(
            [f"dropped: {reason.replace('_', ' ')}", f"{count:,}"]
            for reason, count in manifest.num_dropped.items()
            if count
        ),
        ["documents kept", f"{manifest.num_documents:,}"],
    ]
    splits = [("train", manifest.train), ("validation", manifest.val), ("test", manifest.test)]
    rows = [[name, f"{s.num_documents:,}", f"{s.num_bytes:,}", f"{s.num_tokens:,}"] for name, s in splits]
    total = [f"{sum(getattr(s, name) for _, s in splits):,}" for name in ("num_documents", "num_bytes", "num_tokens")]
    sentence = (
        f"{compact(manifest.num_bytes)}B in {manifest.num_documents:,} documents from {sources}; {dropped:,} dropped."
        f" A vocabulary of {manifest.vocab_size:,} makes {manifest.tokens_per_byte:.3f} tokens of a byte"
        f" ({1 / manifest.tokens_per_byte:.2f} bytes a token)."
    )
    columns = tag(
        "div",
        table(("Funnel", "Count"), funnel, numeric="tn"),
        table(("Split", "Documents", "Bytes", "Tokens"), [*rows, ["all", *total]], numeric="tnnn", footer=True),
        class_="columns",
    )
    return section(anchor, title, tag("p", sentence, class_="lead"), columns)


def machine(study: Study) -> Html:
    title, anchor, found = "The machine", "machine", study.machine
    if found is None:
        return section(anchor, title, not_yet("the machine has not been measured"))
    peaks = ", ".join(f"{dtype} {rate / 1e9:,.0f} GFLOP/s" for dtype, rate in found.matmul_flops_per_second.items())
    rows = [
        ("Processor", f"{found.cpu}, {found.num_cores} cores"),
        ("Trains on", f"{found.device}, {found.memory_bytes / 1e9:.1f} GB, in {found.dtype}, the faster in training"),
        ("Matmul peak, measured", peaks),
        ("Processes planned to train together", _together(study)),
        ("One run a core, side by side", f"{found.side_by_side_gain:.2f}× the tokens/s of one run on all cores"),
        ("Noise of a step's time", percent(found.noise)),
        ("Power of a busy core", _watts(found.power.active_watts_per_core)),
        ("Power of an idle core", _watts(found.power.idle_watts_per_core)),
        *([("Power of the GPU", _watts(found.power.gpu_watts))] if found.power.gpu_watts else []),
        ("Power known from", f"{found.power.method}: {found.power.source}"),
        ("Measured", f"{found.measured_at}, torch {found.torch_version}"),
    ]
    return section(anchor, title, facts_table(rows), _timings(found))


def _together(study: Study) -> str:
    shared = study.plan is not None and study.plan.sharded
    return str(study.given.get("ranks", 1)) + (", which share the model" if shared else "")


def _watts(watts: Interval) -> str:
    return f"{significant(watts.central)} W [{significant(watts.low)}, {significant(watts.high)}]"


def _timings(found: Machine) -> Html:
    header = (
        "Layers × width",
        "Vocabulary",
        "Batch, tokens",
        "Context",
        "Threads",
        "Processes",
        "Numbers",
        "ms/step",
        "± ms",
        "Tokens/s",
    )
    rows = [
        [
            f"{t.num_layers} × {t.hidden_size}",
            f"{t.vocab_size:,}",
            f"{t.batch_tokens:,}",
            str(t.context),
            str(t.num_threads),
            str(t.num_processes),
            t.dtype + (", compiled" if t.compiled else ""),
            f"{1000 * t.seconds:.2f}",
            f"{1000 * t.seconds_sd:.2f}",
            f"{t.batch_tokens / t.seconds:,.0f}",
        ]
        for t in found.timings
    ]
    return tag(
        "details", tag("summary", f"{len(rows)} timed training steps"), table(header, rows, numeric="tnnnnntnnn")
    )


def warnings(study: Study) -> Html:
    found = view.warnings(study)
    items = [tag("li", tag("code", warning.code), " ", warning.message) for warning in found]
    body = tag("ul", *items, class_="warnings") if items else tag("p", "None.", class_="muted")
    return section("warnings", "Warnings", body)


def reproduce(study: Study) -> Html:
    given, sessions = study.given, study.all(SessionStarted)
    first = sessions[0] if sessions else None
    rows = [
        ("Command", tag("code", str(given.get("command", first.command if first else "")))),
        ("Budget", str(given.get("budget_conversion", study.budget))),
        ("Seed", str(given.get("seed", "–"))),
        ("Grid", f"{given.get('grid', '–')}, {given.get('grams_co2e_per_kwh', '–')} g CO2e per kWh"),
        ("Versions", _versions(study, first)),
        ("Corpus fingerprint", tag("code", study.manifest.fingerprint if study.manifest else "not yet")),
        ("Tokenizer", tag("code", study.manifest.tokenizer_sha256 if study.manifest else "not yet")),
        ("Sessions", f"{len(sessions)}" + (": " + "; ".join(s.command for s in sessions) if len(sessions) > 1 else "")),
    ]
    chosen = [list(line) for line in decisions(study.decided)]
    decided = [tag("h3", "Every choice made on the way"), table(("Choice", "Value", "Rule"), chosen)] if chosen else []
    return section("reproduce", "How to reproduce", facts_table(rows), *decided)


def _versions(study: Study, first: SessionStarted | None) -> str:
    isoflop = f"isoflop {first.version}" if first else ""
    torch = f"torch {study.machine.torch_version}" if study.machine else ""
    return ", ".join(filter(None, (isoflop, torch)))


def decisions(table_: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, value and rule of each choice; a table's ``rule`` belongs to the other keys beside it."""
    rule = str(table_.get("rule", ""))
    for key, value in table_.items():
        if isinstance(value, Mapping):
            yield from decisions(value, f"{prefix}{key}.")
        elif key != "rule":
            name = prefix.rstrip(".") if key == "value" else prefix + key
            yield name, f"{value:g}" if isinstance(value, float) else str(value), rule
    if set(table_) == {"rule"}:
        yield prefix.rstrip("."), "", rule


def back(study: Study) -> Html:
    """Sections 6 to 11."""
    return join(part(study) for part in (training, evaluation, text, machine, warnings, reproduce))
