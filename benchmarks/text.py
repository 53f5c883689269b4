"""The text kernels against datatrove on one corpus: CPU seconds of one thread from bytes on disk, and equal decisions.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install 'datatrove[processing,io]==0.10.1'
    python benchmarks/text.py filters --peer /tmp/peer/bin/python --out /tmp/text
    python benchmarks/text.py dedup --peer /tmp/peer/bin/python --out /tmp/text

``filters``: Gopher's quality and repetition rules, both sides with words between spaces. ``signatures``: MinHash alone.
``dedup``: parquet in, kept documents out. ``encode``: parquet to token ids, beside tokenizers with one
tokenizer.json. ``read``: documents of parquet, jsonl, jsonl.zst and jsonl.gz. ``html``: pages to text, beside
trafilatura.

Both sides run in this one call, turn by turn, each as a process of its own with one thread; libraries are
imported and kernels compiled and loaded before. Three rounds, medians. Some minutes each.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpora import SHARED, save, stamp

MIX = SHARED / "bench_mix_50mb" / "bench50.parquet"
HERE = Path(__file__).resolve().parent
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "NUMBA", "OPENBLAS", "RAYON")} | {"ARROW_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(COMPARISONS))
    parser.add_argument("--peer", type=Path, required=True, help="a Python that has datatrove")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    task = arguments.task
    texts = PREPARED[task](arguments.out) if task in PREPARED else MIX
    side(sys.executable, "text_ours.py", task, texts, arguments.out)  # compiles
    both = [
        [
            side(sys.executable, "text_ours.py", task, texts, arguments.out),
            side(arguments.peer, "text_peer.py", task, texts, arguments.out),
        ]
        for _ in range(arguments.rounds)
    ]
    ours, theirs = map(list, zip(*both, strict=True))
    seconds = [float(np.median([each["cpu_seconds"] for each in side])) for side in (ours, theirs)]
    for rounds in (ours, theirs):
        rounds[0]["formats"] = medians([each.get("formats", {}) for each in rounds])
    result = {
        "megabytes": ours[0]["num_bytes"] / 1e6,
        "cpu_seconds": seconds[0],
        "peer_cpu_seconds": seconds[1],
        "megabytes_per_second": ours[0]["num_bytes"] / 1e6 / seconds[0],
        "ratio": seconds[1] / seconds[0],
    }
    save(arguments.out / f"text-{task}.json", stamp() | {"task": task} | result | COMPARISONS[task](ours[0], theirs[0]))


def side(python: str | Path, script: str, task: str, texts: Path, out: Path) -> dict[str, Any]:
    """What one side's process prints."""
    command = [str(python), str(HERE / script), task, str(texts), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | ONE_THREAD)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.median([each[name] for each in rounds])) for name in rounds[0]}


def of_filters(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Share of documents on which both agree to keep or to drop, by family of rules."""
    kept = {
        family: float(np.mean([(a is None) == (b is None) for a, b in zip(ours[family], theirs[family], strict=True)]))
        for family in ("quality", "repetition")
    }
    return {"equal_decisions": kept, "kept": {f: ours[f].count(None) / len(ours[f]) for f in kept}}


def of_signatures(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    return {"num_documents": ours["num_documents"], "peer_num_documents": theirs["num_documents"]}


def of_dedup(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Documents dropped by each, and recall and precision against every truly similar pair."""
    mine, peers = set(ours["dropped"]), set(theirs["dropped"])
    return {
        "dropped": len(mine),
        "peer_dropped": len(peers),
        "dropped_by_both": len(mine & peers),
        "recall": ours["recall"],
        "precision": ours["precision"],
        "num_true_pairs": ours["num_true_pairs"],
    }


def of_encode(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    return {"equal_documents": float(np.mean([a == b for a, b in zip(ours["ids"], theirs["ids"], strict=True)]))}


def of_read(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    if ours["num_documents"] != theirs["num_documents"]:
        raise RuntimeError(f"{ours['num_documents']} documents against {theirs['num_documents']}")
    return {"ratios": {name: theirs["formats"][name] / seconds for name, seconds in ours["formats"].items()}}


def of_html(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    return {"characters": ours["characters"], "peer_characters": theirs["characters"]}


def with_tokenizer(out: Path) -> Path:
    """The mix, and beside it ``tokenizer.json`` in ``out``."""
    from isoflop.text.document import Documents
    from isoflop.text.tokenizer import choose_vocab_size, train_tokenizer

    documents = Documents.of([text.encode() for text in pq.read_table(MIX)["text"].to_pylist()])
    size = choose_vocab_size(documents.num_bytes)
    (out / "tokenizer.json").write_text(train_tokenizer(documents, vocab_size=size).to_str())
    return MIX


def in_formats(out: Path) -> Path:
    """The mix in a folder, in every format that both sides read."""
    folder = out / "read"
    folder.mkdir(exist_ok=True)
    table = pq.read_table(MIX)
    pq.write_table(table, folder / "texts.parquet", compression="zstd")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode()
    (folder / "texts.jsonl").write_bytes(lines)
    (folder / "texts.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "texts.jsonl.zst").write_bytes(pa.compress(lines, codec="zstd", asbytes=True))
    return folder


COMPARISONS = {
    "filters": of_filters,
    "signatures": of_signatures,
    "dedup": of_dedup,
    "encode": of_encode,
    "read": of_read,
    "html": of_html,
}
PREPARED = {
    "encode": with_tokenizer,
    "read": in_formats,
    "html": lambda out: SHARED / "html_sample_800" / "html800.parquet",
}


if __name__ == "__main__":
    main()
