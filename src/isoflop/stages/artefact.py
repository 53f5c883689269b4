"""The model as a Hugging Face folder with its card, and the report."""

from __future__ import annotations

from isoflop.core.products import Interval, StudyWarning
from isoflop.core.session import Session
from isoflop.model.export import export_model
from isoflop.report import view
from isoflop.report.numbers import bits, told
from isoflop.stages.train import trained
from isoflop.study import Study


def export(study: Study, session: Session) -> None:
    """The model as a Hugging Face folder, ``model/``."""
    with session.ledger.activity("export", "productive"):
        trainer = trained(study)
        tokenizer, end = study.corpus / "tokenizer.json", study.manifest.end_of_text
        export_model(trainer.model, tokenizer, study.model, card=_card(study), end_of_text=end)


def _card(study: Study) -> str:
    """The model's README: what it is, what was promised beside what happened, and where it comes from."""
    plan, manifest = study.plan, study.manifest
    found = view.load(study.folder)
    scored = found.scored
    assert scored is not None, "the evaluate stage leaves a score"
    counts = plan.num_parameters
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "tags: [isoflop]",
            "---",
            f"# A {counts.all / 1e6:.2f} M-parameter language model",
            "",
            f"Trained by isoflop within a budget of {study.given.budget} on {manifest.num_bytes / 1e6:.1f} MB of text",
            f"({', '.join(manifest.sources)}).",
            f"Parameters: {counts.all:,} in all, {counts.non_embedding:,} without embedding and head,",
            f"{counts.matmul:,} that multiply.",
            "",
            "| | predicted | happened |",
            "|---|---|---|",
            *(_card_row(row) for row in view.comparisons(found)),
            f"| xz -9 on the same test documents, bits/byte | | {bits(scored.xz_bits_per_byte)} |",
            f"| Unigrams on the same test documents, bits/byte | | {bits(scored.unigram_bits_per_byte)} |",
            "",
            "Intervals: 90 %. Time, energy, emissions and cost: up to this export.",
            "",
            *_warnings(view.warnings(found)),
            "It knows only this text; it is no assistant and may repeat what it was trained on.",
            "",
        ]
    )


def _warnings(found: list[StudyWarning]) -> list[str]:
    """What to know before relying on the model or its figures; nothing where there is nothing."""
    if not found:
        return []
    return ["## Warnings", "", *(f"- `{warning.code}`: {warning.message}" for warning in found), ""]


def _card_row(row: view.Comparison) -> str:
    return f"| {row.quantity}, {row.unit} | {_told(row.predicted, row.unit)} | {_told(row.happened, row.unit)} |"


def _told(side: Interval | None, unit: str) -> str:
    if side is None:
        return "–"
    bounds = f" ({told(side.low, unit)} to {told(side.high, unit)})" if side.low < side.high else ""
    return told(side.central, unit) + bounds


def report(study: Study, session: Session) -> None:
    """report.html, from records only."""
    from isoflop.report.page import build_report

    with session.ledger.activity("report", "productive"):
        build_report(study.folder)
