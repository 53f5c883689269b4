"""The sections of the page up to the training run, each a function from the study to HTML."""

from __future__ import annotations

from isoflop.core.products import LawReport, Plan, Recipe
from isoflop.core.records import EnergyChecked
from isoflop.report import charts, view
from isoflop.report.html import Html, facts_table, figure, interval_bar, join, section, table, tag
from isoflop.report.numbers import bits, compact, duration, percent, signed_percent, significant, told
from isoflop.report.story import diminishing_returns, size_finding
from isoflop.report.view import Comparison, Study

MEANINGS = {
    "E": "loss that no size and no amount of this text removes, nats/token",
    "A": "scale of the loss from being too small",
    "B": "scale of the loss from seeing too little",
    "alpha": "how fast size pays",
    "beta": "how fast tokens pay",
    "p": "coupling of size and tokens; 1 is Chinchilla's sum",
    "R_D*": "repetitions after which repeated text has lost most of its worth",
    "R_N*": "the same for parameters beyond what the unique text supports",
}


def not_yet(what: str) -> Html:
    return tag("p", f"Not yet: {what}. Continue with: isoflop resume STUDY", class_="muted")


def headline(study: Study) -> Html:
    rows = view.comparisons(study)
    found = view.warnings(study)
    note = f"{len(found)} warning{'s' if len(found) > 1 else ''}: {', '.join(sorted({w.code for w in found}))}"
    alert = [tag("p", tag("a", note, href="#warnings"), class_="alert")] if found else []
    judged = [row for row in rows if row.inside is not None]
    verdict = f"Of {len(judged)} intervals at 90 %, {sum(bool(row.inside) for row in judged)} hold what happened."
    body = [_comparison_table(rows)] if rows else [not_yet("nothing is forecast or measured")]
    if judged:
        body.append(tag("p", verdict, " ", _power_note(study), class_="note"))
    return section("predicted-happened", "Predicted | happened", *alert, *body)


def _power_note(study: Study) -> str:
    """How far the joules that happened are measured, and what they leave out."""
    if study.machine is None:
        return ""
    note = f"Energy that “happened” is itself modelled: core-seconds times watts ({study.machine.power.source})."
    if study.machine.device != "cpu":
        counted = study.machine.power.gpu_watts is not None
        note += f" The GPU's is {'of its own counter' if counted else 'not counted: nothing here reads its counter'}."
    checks = study.all(EnergyChecked)
    return f"{note} {_other_meter(checks)}" if checks else note


def _other_meter(checks: list[EnergyChecked]) -> str:
    """What another tool says of the sessions' energy."""
    theirs, seconds = sum(check.joules for check in checks), sum(check.seconds for check in checks)
    low, ours, high = (sum(getattr(check, f"joules_{name}") for check in checks) for name in ("low", "central", "high"))
    inside = "inside" if low <= theirs <= high else "outside"
    told = f"{significant(theirs)} J of the whole machine in {significant(seconds)} s"
    return f"{checks[-1].tool} makes {told}, {inside} our interval about {significant(ours)} J."


def _comparison_table(rows: list[Comparison]) -> Html:
    header = ("Quantity", "Unit", "Predicted", "90 % interval", "Happened", "Difference", "Verdict", "")
    return table(header, [_comparison_row(row) for row in rows], numeric="ttntnntt")


def _comparison_row(row: Comparison) -> list[str]:
    predicted, happened = row.predicted, row.happened
    wide = predicted is not None and predicted.low < predicted.high
    verdict = {True: tag("span", "inside", class_="in"), False: tag("span", "outside", class_="out"), None: Html("")}
    return [
        row.quantity,
        row.unit,
        told(predicted.central, row.unit) if predicted else "–",
        f"[{told(predicted.low, row.unit)}, {told(predicted.high, row.unit)}]" if predicted and wide else "",
        told(happened.central, row.unit) if happened else "not yet",
        signed_percent(row.error) if row.error is not None else "",
        verdict[row.inside],
        interval_bar(predicted, happened, inside=row.inside) if predicted and wide else "",
    ]


def what_if(study: Study) -> Html:
    title, anchor = "What would 2× and 10× the budget buy?", "what-if"
    if study.plan is None or study.budget_seconds is None:
        return section(anchor, title, not_yet("the law has not been asked"))
    bought = view.purchases(study.plan, study.budget_seconds)
    rows = [
        [
            f"{p.factor:.3g}×",
            duration(p.seconds),
            compact(p.num_parameters),
            compact(p.tokens),
            significant(p.epochs),
            bits(p.bits_per_byte.central),
            f"[{bits(p.bits_per_byte.low)}, {bits(p.bits_per_byte.high)}]",
        ]
        for p in bought
    ]
    header = ("Budget", "Time", "Matmul parameters", "Tokens", "Epochs", "Bits per byte", "90 % interval")
    sentence = diminishing_returns(bought)
    chart = figure(
        f"From {bits(bought[0].bits_per_byte.central)} at {bought[0].factor:.3g}× the budget"
        f" to {bits(bought[-1].bits_per_byte.central)} at {bought[-1].factor:.3g}×",
        charts.what_if(bought, study.test_bits),
        note="Bars: 90 % intervals of the forecast. Diamond: what this budget did buy.",
    )
    return section(anchor, title, tag("p", sentence, class_="lead"), chart, table(header, rows, numeric="tnnnnnt"))


def time_ledger(study: Study) -> Html:
    title, anchor = "Where each second went", "ledger"
    rows = view.ledger(study.records)
    if not rows:
        return section(anchor, title, not_yet("no time is booked"))
    used, budget = view.spent_seconds(rows), study.budget_seconds
    planning = view.spent_seconds(rows, view.PLANNING_STAGES)
    whole = budget or used
    lines = [[row.stage, row.activity, f"{row.seconds:.1f}", percent(row.seconds / whole)] for row in rows]
    stages = dict.fromkeys(row.stage for row in rows)
    largest = max(stages, key=lambda stage: view.spent_seconds(rows, [stage]))
    finding = (
        f"{duration(used)} used{f' of {duration(budget)}' if budget else ''}:"
        f" {percent(view.spent_seconds(rows, [largest]) / used, 0)} in {largest},"
        f" {percent(planning / whole, 0)} of the budget in pilots, law and plan"
    )
    share = "Share of the budget" if budget else "Share"
    total = ["all", "", f"{used:.1f}", percent(used / whole)]
    return section(
        anchor,
        title,
        figure(finding, charts.ledger(rows, budget)),
        table(("Stage", "Activity", "Seconds", share), [*_merged(lines), total], numeric="ttnn", footer=True),
    )


def _merged(lines: list[list[str]]) -> list[list[str]]:
    """A stage's name is written once, on its first line."""
    before = ["", *(line[0] for line in lines)]
    return [["" if line[0] == last else line[0], *line[1:]] for line, last in zip(lines, before, strict=False)]


def law(study: Study) -> Html:
    title, anchor = "The pilots and the law", "law"
    if study.law is None or study.manifest is None:
        return section(anchor, title, not_yet("the pilots have not been fitted"))
    points = study.law.points
    sizes = {point.num_parameters for point in points}
    span = max(point.tokens for point in points) / min(point.tokens for point in points)
    finding = f"{len(points)} pilots of {len(sizes)} sizes over {span:.0f}× in tokens"
    finding += ", and what the law makes of them at the whole budget" if study.plan else ""
    factor = study.manifest.val.bits_per_nat
    chart = figure(
        finding,
        charts.isoflop(points, factor, study.plan, study.test_bits),
        note="Dots: pilots on the validation documents. Dashed: equal FLOPs, interpolated between a size's own dots."
        " Curve and band: test forecast, 90 %.",
    )
    held = study.law.heldout_error
    check = "" if held is None else f"The costliest pilot, predicted from the others, is off by {percent(abs(held))}. "
    check += f"Form {study.law.form}; residuals {percent(study.law.residual_sd, 2)} of the loss."
    return section(anchor, title, chart, tag("p", check, class_="note"), _law_table(study.law), _pilot_table(study.law))


def _law_table(report: LawReport) -> Html:
    rows = [
        [
            name,
            significant(value, 4),
            significant(report.standard_errors[name], 2) if name in report.standard_errors else "",
            tag("span", "prior", class_="out") if name in report.prior_dominated else "pilots",
            MEANINGS.get(name, ""),
        ]
        for name, value in report.parameters.items()
    ]
    return table(("Parameter", "Value", "Standard error", "Known from", "Meaning"), rows, numeric="tnntt")


def _pilot_table(report: LawReport) -> Html:
    rows = [
        [
            p.run,
            compact(p.num_parameters),
            compact(p.tokens),
            significant(p.tokens / p.unique_tokens),
            f"{p.flops:.2e}",
            f"{p.loss:.4f}",
            f"{p.noise:.4f}",
        ]
        for p in sorted(report.points, key=lambda p: (p.num_parameters, p.tokens))
    ]
    header = ("Pilot", "Matmul parameters", "Tokens", "Epochs", "FLOPs", "Loss, nats/token", "Seed noise")
    return tag("details", tag("summary", f"All {len(rows)} pilots"), table(header, rows, numeric="tnnnnnn"))


def plan(study: Study) -> Html:
    title, anchor = "The plan", "plan"
    if study.plan is None:
        return section(anchor, title, not_yet("nothing is planned"))
    chart = figure(
        size_finding(study.plan),
        charts.candidates(study.plan),
        note="Forecast at the whole budget for each size, with its 90 % interval.",
    )
    columns = tag("div", _recipe(study.plan), _shape(study.plan), class_="columns")
    return section(anchor, title, chart, columns)


def _shape(chosen: Plan) -> Html:
    counts = chosen.num_parameters
    rows = [
        ("Parameters, all", f"{counts.all:,}"),
        ("… without embedding and head", f"{counts.non_embedding:,}"),
        ("… that multiply (matmul)", f"{counts.matmul:,}"),
        *((name.replace("_", " ").capitalize(), str(value)) for name, value in chosen.model.items()),
    ]
    return tag("div", tag("h3", "Model"), facts_table(rows))


def _schedule(recipe: Recipe) -> str:
    shapes = {"linear": "linear to zero", "cosine": "a cosine to a tenth", "constant": "constant"}
    return shapes.get(recipe.schedule, f"stable, decay over the last {percent(recipe.decay_fraction)}")


def _extras(recipe: Recipe) -> list[tuple[str, str]]:
    """What was asked for beside the usual."""
    extras = {
        "z-loss": recipe.z_loss,
        "Label smoothing": recipe.label_smoothing,
        "Average of weights": recipe.average_decay,
    }
    return [(name, f"{value:g}") for name, value in extras.items() if value]


def _recipe(chosen: Plan) -> Html:
    recipe = chosen.recipe
    start = f"continues pilot {chosen.continues}" if chosen.continues else "from scratch"
    rows = [
        ("Start", start),
        (
            "Optimizer",
            f"{recipe.optimizer}, weight decay {recipe.weight_decay:g}, clipped at norm {recipe.clip_norm:g}",
        ),
        ("Peak learning rate, at width 128", f"{recipe.learning_rate:.3g}"),
        ("Schedule", f"warmup {percent(recipe.warmup_fraction)}, then {_schedule(recipe)}"),
        *_extras(recipe),
        ("Batch", f"{recipe.batch_tokens:,} tokens in sequences of {recipe.context:,}"),
        ("Steps", f"{recipe.num_steps:,}"),
        (
            "Tokens",
            f"{compact(chosen.tokens)} ({significant(chosen.epochs)} epochs of {compact(recipe.unique_tokens)})",
        ),
        ("FLOPs", f"{chosen.flops:.2e}"),
        (
            "Numbers",
            f"{chosen.dtype}, {'compiled' if chosen.compiled else 'not compiled'}, {chosen.num_threads} threads",
        ),
        ("Training time", f"{duration(chosen.training_seconds)} at {chosen.tokens_per_second:,.0f} tokens/s"),
        ("Peak memory", f"{chosen.memory_bytes / 1e9:.2f} GB expected"),
        ("Seed", str(recipe.seed)),
    ]
    return tag("div", tag("h3", "Recipe"), facts_table(rows))


def front(study: Study) -> Html:
    """Sections 1 to 5."""
    return join(part(study) for part in (headline, what_if, time_ledger, law, plan))
