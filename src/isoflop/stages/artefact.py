"""The model as a Hugging Face folder with its card, and the report."""

from __future__ import annotations

from isoflop.core.records import Scored, read_records
from isoflop.core.session import Session
from isoflop.model.export import export_model
from isoflop.stages.train import trained
from isoflop.study import Study


def export(study: Study, session: Session) -> None:
    """The model as a Hugging Face folder, ``model/``."""
    with session.ledger.activity("export", "productive"):
        trainer = trained(study)
        export_model(trainer.model, study.corpus / "tokenizer.json", study.model, card=_card(study))


def _card(study: Study) -> str:
    """The model's README: what it is, what it was promised to be, and where it comes from."""
    plan, manifest = study.plan, study.manifest
    scored = [s.record for s in read_records(study.records) if isinstance(s.record, Scored)][-1]
    promised = plan.forecast.bits_per_byte
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "tags: [isoflop]",
            "---",
            f"# A {plan.num_parameters.all / 1e6:.2f} M-parameter language model",
            "",
            f"Trained by isoflop within a budget of {study.given.budget} on {manifest.num_bytes / 1e6:.1f} MB of text",
            f"({', '.join(manifest.sources)}).",
            "",
            "| | |",
            "|---|---|",
            f"| bits per byte, unseen test documents | {scored.bits_per_byte:.4f} "
            f"(90 %: {scored.bits_per_byte_low:.4f} to {scored.bits_per_byte_high:.4f}) |",
            f"| forecast before training | {promised.central:.4f} (90 %: {promised.low:.4f} to {promised.high:.4f}) |",
            f"| xz -9 on the same documents | {scored.xz_bits_per_byte:.4f} |",
            f"| parameters (all, non-embedding, matmul) | {plan.num_parameters.all:,}, "
            f"{plan.num_parameters.non_embedding:,}, {plan.num_parameters.matmul:,} |",
            f"| training tokens planned | {plan.tokens:,} ({plan.epochs:.1f} epochs) |",
            f"| training FLOPs planned | {plan.flops:.3g} |",
            "",
            "It knows only this text; it is no assistant and may repeat what it was trained on.",
            "",
        ]
    )


def report(study: Study, session: Session) -> None:
    """report.html, from records only."""
    from isoflop.report.page import build_report

    with session.ledger.activity("report", "productive"):
        build_report(study.folder)
