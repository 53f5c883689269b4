"""The stages of a study, in order. Each reads what those before it left in the folder and leaves its own there."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import torch

from isoflop.core.budget import Budget, Rates, format_seconds
from isoflop.core.errors import BudgetError
from isoflop.core.ledger import by_stage
from isoflop.core.products import CorpusManifest, LawPoint, Machine, StudyWarning
from isoflop.core.records import PilotFinished, Sampled, Scored, read_records
from isoflop.core.session import Session
from isoflop.evaluate.score import bits_per_byte, score_documents
from isoflop.evaluate.yardsticks import unigram_bits_per_byte, xz_bits_per_byte
from isoflop.law.fit import fit
from isoflop.law.predict import Law
from isoflop.machine.measure import measure, pick_device, time_steps
from isoflop.machine.power import joules
from isoflop.machine.throughput import fit_throughput
from isoflop.model.config import ModelConfig
from isoflop.model.count import flops_per_token
from isoflop.model.export import export_model
from isoflop.model.generate import generate
from isoflop.plan.guess import guess_target
from isoflop.plan.pilots import Setting, design
from isoflop.plan.planner import Choice, Question, best, consider, make_plan, what_if
from isoflop.plan.rules import context_for, recipe_for
from isoflop.plan.shapes import ladder
from isoflop.study import Given, Study
from isoflop.text import prepare as text
from isoflop.text.demo import demo_files
from isoflop.train.pilot import run_pilot
from isoflop.train.target import STAGE, TargetRun
from isoflop.train.trainer import DTYPES, Snapshot, Trainer
from isoflop.train.workers import Workers

MIN_BUDGET_SECONDS = 60.0
MEASURE_SHARE, MAX_MEASURE_SECONDS = 0.02, 30.0
PILOT_SHARE = 0.11
"""Share of the budget that pilots take; with law and plan it stays well under a fifth."""
DEFAULT_NOISE_NATS = 0.012
"""Seed noise of a pilot's loss where no seed was repeated (0.01-0.03 measured, docs/log.md)."""
COMPILE_SPEEDUP, COMPILE_SECONDS = 1.3, 12.0
"""Expected of compiling block and head on a CPU (docs/log.md); measured before it is relied on."""
SAMPLE_TOKENS = 120
HELDOUT_SD = 0.006
"""Relative spread between validation and test loss where too few documents are left to measure it."""


def require_budget(seconds: float) -> None:
    """Raises `BudgetError` for a budget that buys nothing on any machine."""
    if seconds < MIN_BUDGET_SECONDS:
        raise BudgetError(
            f"{format_seconds(seconds)} is too small a budget to do anything",
            remedy=f"The smallest that works is {format_seconds(MIN_BUDGET_SECONDS)}",
        )


def prepare(study: Study, session: Session) -> None:
    """Text to ``corpus/``."""
    inputs = [Path(name) for name in study.given.inputs] or demo_files()
    if not study.given.inputs:
        session.progress.note("no text given: using the demo corpus, the State of the Union addresses")
    with session.ledger.activity("prepare", "productive"):
        manifest = text.prepare(
            inputs,
            study.corpus,
            seed=study.given.seed,
            progress=lambda fraction, activity: session.progress.update(fraction, doing=activity),
        )
    study.decide("vocab_size", manifest.vocab_size, rule="by corpus bytes (text/tokenizer.py)")
    for warning in manifest.warnings:
        session.warn("prepare", warning)


def measure_machine(study: Study, session: Session, workers: Workers | None) -> None:
    """This machine to machine.json, and the budget to seconds."""
    budget = Budget.parse(study.given.budget)
    seconds = min(MAX_MEASURE_SECONDS, max(4.0, MEASURE_SHARE * session.seconds_left())) if budget.unit == "s" else 8.0
    context = context_for(1e12)
    shapes = _timing_shapes(study.manifest.vocab_size, context)
    with session.ledger.activity("measure", "productive"):
        machine = measure(shapes, seconds=seconds, side_by_side=workers.side_by_side if workers else None)
    study.write("machine.json", machine)
    for warning in machine.warnings:
        session.warn("measure", warning)
    _convert_budget(study, machine)
    if session.seconds_left() < 0.5 * study.budget_seconds:
        spent = study.budget_seconds - session.seconds_left()
        raise BudgetError(
            f"reading and measuring alone took {format_seconds(spent)}, {spent / study.budget_seconds:.0%} of the budget",
            remedy=f"The smallest budget that works for this text is about {format_seconds(2 * spent + MIN_BUDGET_SECONDS)}",
        )


def _timing_shapes(vocab_size: int, context: int) -> list[ModelConfig]:
    shapes = ladder(vocab_size, context)
    large = 5 if not torch.cuda.is_available() else 15
    return [shapes[0], shapes[2], shapes[large]]


def rates_of(machine: Machine, given: Given) -> Rates:
    """What this machine does and costs a second while it trains at its best measured speed."""
    fastest = max(_training_flops_per_second(machine))
    watts = joules(machine.power, busy_core_seconds=machine.num_cores, wall_seconds=1.0, num_cores=machine.num_cores)
    return Rates(fastest, watts.central, given.price_per_hour, given.grams_co2e_per_kwh)


def _convert_budget(study: Study, machine: Machine) -> None:
    given = study.given
    conversion = Budget.parse(given.budget).to_seconds(rates_of(machine, given))
    require_budget(conversion.seconds)
    study.convert(conversion.seconds, conversion.explanation)


def _training_flops_per_second(machine: Machine) -> list[float]:
    rates = []
    for timing in machine.timings:
        config = ModelConfig(
            vocab_size=timing.vocab_size,
            hidden_size=timing.hidden_size,
            num_hidden_layers=timing.num_layers,
            num_attention_heads=max(1, timing.hidden_size // 64),
            head_dim=64 if timing.hidden_size >= 64 else 32,
            intermediate_size=timing.intermediate_size,
            max_position_embeddings=timing.context,
        )
        rates.append(timing.batch_tokens * flops_per_token(config, context=timing.context) / timing.seconds)
    return rates


def run_pilots(study: Study, session: Session, workers: Workers | None) -> None:
    """Trains the pilots; their points go to records.jsonl."""
    setting = _setting(study, workers)
    seconds = PILOT_SHARE * study.budget_seconds
    training = _training_seconds(study, session.seconds_left() - seconds, setting)
    guess = guess_target(
        setting.throughput,
        setting.shapes,
        context=setting.context,
        seconds=training,
        unique_tokens=setting.unique_tokens,
    )
    jobs = design(setting, guess, seconds=seconds)
    study.decide(
        "pilots",
        [f"{job.run}: {job.branch_steps[-1] * job.recipe.batch_tokens:,} tokens" for job in jobs],
        rule=f"sizes below the expected target (width {guess.config.hidden_size}), {PILOT_SHARE:.0%} of the budget",
    )
    with session.ledger.activity("pilots", "productive"):
        if workers is None:
            for done, job in enumerate(jobs, start=1):
                run_pilot(job)
                session.progress.update(done / len(jobs), pilot=job.run)
            return
        futures = [workers.submit(run_pilot, job) for job in jobs]
        for done, future in enumerate(futures, start=1):
            points = future.result()
            session.progress.update(done / len(jobs), pilot=points[-1].run, loss=points[-1].loss)


def _setting(study: Study, workers: Workers | None) -> Setting:
    machine, manifest = study.machine, study.manifest
    context = _context(study)
    return Setting(
        machine=machine,
        throughput=fit_throughput(machine),
        shapes=ladder(manifest.vocab_size, context),
        context=context,
        unique_tokens=manifest.train.num_tokens,
        num_workers=workers.num_workers if workers else 1,
        num_val_tokens=max(30_000, int(300 * study.budget_seconds)),
        seed=study.given.seed,
        study=study.folder,
    )


def _context(study: Study) -> int:
    return context_for(max(_training_flops_per_second(study.machine)) * study.budget_seconds)


def _training_seconds(study: Study, seconds_left: float, setting: Setting) -> float:
    """What is left for training once evaluation, export and report are paid."""
    return max(5.0, seconds_left - closing_seconds(study))


def closing_seconds(study: Study) -> float:
    """Expected seconds of evaluation, export and report (measured: docs/log.md)."""
    split = study.manifest.test
    shape = study.machine.timings[-1]
    tokens_per_second = 2.5 * shape.batch_tokens / shape.seconds
    return 5.0 + split.num_tokens / tokens_per_second + split.num_bytes / 1.5e6


def fit_law(study: Study, session: Session) -> None:
    """The pilots' points to law.json."""
    with session.ledger.activity("law", "productive"):
        finished = [s.record for s in read_records(study.records) if isinstance(s.record, PilotFinished)]
        noise = _seed_noise(finished)
        points = [
            LawPoint(p.run, p.num_parameters, p.tokens, p.unique_tokens, p.flops, p.loss, noise)
            for p in finished
            if p.purpose in ("grid", "repeat", "recentre")
        ]
        law = fit(points, seed=study.given.seed)
    study.write("law.json", law.report())
    for warning in [*law.report().warnings, *_rate_warnings(finished)]:
        session.warn("law", warning)


def _seed_noise(finished: list[PilotFinished]) -> float:
    """Root-mean-square difference of repeated seeds over sqrt 2, nats; the default where no seed was repeated."""
    differences = [
        a.loss - b.loss
        for a in finished
        for b in finished
        if a.purpose == "seed" and b.purpose == "grid" and a.hidden_size == b.hidden_size and a.tokens == b.tokens
    ]
    if not differences:
        return DEFAULT_NOISE_NATS
    measured = math.sqrt(sum(d * d for d in differences) / len(differences) / 2)
    return max(measured, DEFAULT_NOISE_NATS / 2)  # few differences: do not believe in none


def _rate_warnings(finished: list[PilotFinished]) -> list[StudyWarning]:
    """Whether half or twice the rule's learning rate was clearly better on the rung that tried them."""
    warnings = []
    for trial in (p for p in finished if p.purpose == "rate"):
        base = [p for p in finished if p.purpose == "grid" and p.hidden_size == trial.hidden_size]
        nearest = min(base, key=lambda p: abs(math.log(p.tokens / trial.tokens)), default=None)
        if nearest is None or abs(math.log(nearest.tokens / trial.tokens)) > 0.2:
            continue
        gain = nearest.loss - trial.loss
        if gain > 2 * DEFAULT_NOISE_NATS:
            factor = trial.learning_rate / nearest.learning_rate
            message = (
                f"{factor:.2g} times the rule's learning rate is {gain:.3f} nats better at width {trial.hidden_size}"
            )
            warnings.append(StudyWarning("learning_rate_off", message))
    return warnings


def question_of(study: Study) -> Question:
    """What any plan on this study is made of."""
    setting, given = _setting(study, None), study.given
    return Question(
        machine=study.machine,
        throughput=setting.throughput,
        law=Law.from_report(study.law),
        manifest=study.manifest,
        shapes=setting.shapes,
        context=setting.context,
        seed=given.seed,
        heldout_sd=HELDOUT_SD,
        dollars_per_hour=given.price_per_hour,
        grams_co2e_per_kwh=given.grams_co2e_per_kwh,
    )


def plan(study: Study, session: Session) -> None:
    """Law and machine to plan.json: choose the shape, measure it, promise."""
    with session.ledger.activity("plan", "productive"):
        question = question_of(study)
        closing = closing_seconds(study)
        expected = COMPILE_SPEEDUP if can_compile() else 1.0
        choices = consider(question, seconds=session.seconds_left() - closing - COMPILE_SECONDS, speedup=expected)
        choice = best(choices)
    speed, compiled = _calibrate(choice, question, session, left=session.seconds_left() - closing)
    with session.ledger.activity("plan", "productive"):
        training = session.seconds_left() - closing
        answers = what_if(
            question,
            budget_seconds=study.budget_seconds,
            training_seconds=training,
            speedup=expected if compiled else 1.0,
        )
        result = make_plan(
            question,
            choice,
            choices,
            budget_seconds=study.budget_seconds,
            training_seconds=session.seconds_left() - closing,
            tokens_per_second=speed,
            compiled=compiled,
            num_threads=torch.get_num_threads(),
            continues=_trunk_of(study, choice.config),
            what_if=answers,
            warnings=[],
        )
    study.write("plan.json", result)
    for warning in result.warnings:
        session.warn("plan", warning)


def can_compile() -> bool:
    """Whether torch.compile will find what it needs: a C++ compiler, or a GPU (where Triton comes along)."""
    return torch.cuda.is_available() or any(map(shutil.which, ("g++", "c++", "clang++")))


def _calibrate(choice: Choice, question: Question, session: Session, *, left: float) -> tuple[float, bool]:
    """Tokens/s of the chosen shape, and whether compiled: measured eager and, where it may pay, compiled."""
    device = pick_device()
    counts = choice.candidate.num_parameters
    recipe = recipe_for(
        counts.matmul, choice.tokens, context=question.context, unique_tokens=1 << 16, seed=question.seed
    )
    dtype = question.machine.dtype
    with session.ledger.activity("plan", "productive"):
        eager = time_steps(choice.config, recipe, dtype=dtype, device=device, seconds=1.0)
    if not can_compile() or left * (1 - 1 / COMPILE_SPEEDUP) < 1.5 * COMPILE_SECONDS:
        return recipe.batch_tokens / eager.seconds, False
    with session.ledger.activity("plan", "compile"):
        compiled = time_steps(choice.config, recipe, dtype=dtype, device=device, seconds=1.0, compiled=True)
    winner = min(eager, compiled, key=lambda timing: timing.seconds)
    return recipe.batch_tokens / winner.seconds, winner is compiled


def measured_speedup(study: Study) -> float:
    """How much faster the plan's shape was measured than the throughput model says of it, eager."""
    plan, throughput = study.plan, fit_throughput(study.machine)
    config = ModelConfig(**plan.model)
    step = throughput.step_seconds(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        vocab_size=config.vocab_size,
        context=plan.recipe.context,
        batch_tokens=plan.recipe.batch_tokens,
    )
    return plan.tokens_per_second * step / plan.recipe.batch_tokens


def _trunk_of(study: Study, config: ModelConfig) -> str | None:
    run = f"grid-w{config.hidden_size}"
    return run if (study.pilots / run / "checkpoint.json").exists() else None


def train(study: Study, session: Session) -> None:
    """The target run, to ``run/``."""
    plan, manifest = study.plan, study.manifest
    booked = sum(
        s for (stage, what), s in by_stage(read_records(study.records)).items() if stage == STAGE and what != "start"
    )
    with session.ledger.activity(STAGE, "start"):
        trainer = Trainer(
            ModelConfig(**plan.model),
            plan.recipe,
            text.open_split(study.corpus, manifest.train),
            dtype=plan.dtype,
            compiled=plan.compiled,
            device=str(pick_device()),
        )
        if plan.continues is not None:
            snapshot = Snapshot.load(study.pilots / plan.continues)
            if snapshot is not None:
                trainer.adopt(snapshot, tokens=_trunk_tokens(study, plan.continues, snapshot))
        peak = max(study.machine.matmul_flops_per_second.values())
        run = TargetRun(trainer, plan, session, corpus=study.corpus, folder=study.run, peak_flops=peak)
        run.resume(booked)
    with session.ledger.activity(STAGE, "productive"):
        run.run()


def _trunk_tokens(study: Study, run: str, snapshot: Snapshot) -> int:
    points = [
        s.record for s in read_records(study.records) if isinstance(s.record, PilotFinished) and s.record.run == run
    ]
    return snapshot.num_done * points[-1].batch_tokens


def _trained(study: Study) -> Trainer:
    """The finished model, from its last checkpoint."""
    plan = study.plan
    snapshot = Snapshot.load(study.run)
    assert snapshot is not None, "the train stage leaves a checkpoint"
    shards = text.open_split(study.corpus, study.manifest.train)
    trainer = Trainer(ModelConfig(**plan.model), plan.recipe, shards, dtype=plan.dtype, device=str(pick_device()))
    trainer.restore(snapshot)
    return trainer


def evaluate(study: Study, session: Session) -> None:
    """Bits per byte on the test documents, beside the yardsticks, and samples."""
    with session.ledger.activity("evaluate", "productive"):
        trainer, manifest, plan = _trained(study), study.manifest, study.plan
        ids = text.open_split(study.corpus, manifest.test)[0]
        documents = text.open_documents(study.corpus, manifest.test)
        scores = score_documents(
            trainer.model,
            ids,
            documents,
            context=plan.recipe.context,
            batch_tokens=8192,
            dtype=DTYPES[plan.dtype],
        )
        bits = bits_per_byte(scores)
        session.write(
            Scored(
                bits_per_byte=bits.central,
                bits_per_byte_low=bits.low,
                bits_per_byte_high=bits.high,
                loss=scores.loss,
                num_documents=len(documents),
                num_bytes=int(documents[:, 1].sum()),
                **_yardsticks(study, manifest, ids, documents),
            )
        )
        _write_samples(study, session, trainer, ids, documents)


def _yardsticks(study: Study, manifest: CorpusManifest, ids: np.ndarray, documents: np.ndarray) -> dict[str, float]:
    """What no training buys, on the same documents."""
    tokenizer = text.open_tokenizer(study.corpus, manifest)
    ends = np.cumsum(documents[:, 0])
    texts = [
        tokenizer.decode(ids[end - length : end - 1].tolist(), skip_special_tokens=False).encode()
        for end, length in zip(ends, documents[:, 0], strict=True)
    ]
    counts = np.zeros(manifest.vocab_size, dtype=np.int64)
    for shard in text.open_split(study.corpus, manifest.train):
        counts += np.bincount(shard, minlength=manifest.vocab_size)
    return {
        "xz_bits_per_byte": xz_bits_per_byte(texts),
        "unigram_bits_per_byte": unigram_bits_per_byte(counts, ids, int(documents[:, 1].sum())),
    }


def _write_samples(study: Study, session: Session, trainer: Trainer, ids: np.ndarray, documents: np.ndarray) -> None:
    """Continuations of the first words of up to three test documents."""
    tokenizer = text.open_tokenizer(study.corpus, study.manifest)
    end_of_text = int(ids[documents[0, 0] - 1])
    starts = np.cumsum(documents[:, 0]) - documents[:, 0]
    for i in np.linspace(0, len(documents) - 1, min(3, len(documents)), dtype=int):
        prompt = ids[starts[i] : starts[i] + min(12, documents[i, 0] - 1)].tolist()
        new = generate(
            trainer.model,
            [end_of_text, *prompt],
            max_new_tokens=SAMPLE_TOKENS,
            temperature=0.8,
            top_k=50,
            seed=study.given.seed,
            stop_id=end_of_text,
        )
        session.write(Sampled(tokenizer.decode(prompt), tokenizer.decode(new)))


def export(study: Study, session: Session) -> None:
    """The model as a Hugging Face folder, ``model/``."""
    with session.ledger.activity("export", "productive"):
        trainer = _trained(study)
        export_model(trainer.model.float(), study.corpus / "tokenizer.json", study.model, card=_card(study))


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
