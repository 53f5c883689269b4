"""A study folder of a few kilobytes: what a peer reads of one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isoflop.core import codec
from isoflop.core.files import write_array, write_json
from isoflop.core.products import CorpusManifest, Forecast, Interval, ParameterCounts, Plan, Recipe, Shard, Split

VOCAB_SIZE = 64

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package


def write_split(folder: Path, name: str, *, num_documents: int, length: int) -> Split:
    """Documents that count upwards modulo the vocabulary, so that a model can learn them; two bytes a token."""
    text = (np.arange(num_documents * length) % (VOCAB_SIZE - 1) + 1).astype(np.uint16).reshape(num_documents, length)
    text[:, -1] = 0  # end of text
    documents = np.array([[length, 2 * (length - 1)]] * num_documents, dtype=np.int64)
    ids_sha = write_array(folder / f"{name}.npy", text.reshape(-1))
    documents_sha = write_array(folder / f"{name}-documents.npy", documents)
    return Split(
        num_documents=num_documents,
        num_bytes=int(documents[:, 1].sum()),
        num_tokens=text.size,
        shards=[Shard(f"{name}.npy", ids_sha, text.size)],
        documents=Shard(f"{name}-documents.npy", documents_sha, 2 * num_documents),
    )


def tiny_plan() -> Plan:
    one = Interval(1.0, 0.9, 1.1)
    shape: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "max_position_embeddings": 16,
    }
    recipe = Recipe("muon", 16, 128, 100, 0.02, 0.1, 0.05, 0.3, 1.0, 0, 1600)
    return Plan(
        model=shape,
        num_parameters=ParameterCounts(all=50_000, non_embedding=40_000, matmul=45_000),
        recipe=recipe,
        tokens=12_800,
        epochs=8.0,
        dtype="float32",
        compiled=False,
        num_threads=1,
        continues=None,
        training_seconds=1.0,
        tokens_per_second=1280.0,
        flops=1e9,
        memory_bytes=10_000_000,
        forecast=Forecast(one, one, one, one, None, None),
        candidates=[],
        what_if=[],
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    corpus = tmp_path / "study" / "corpus"
    manifest = CorpusManifest(
        format_version=1,
        fingerprint="corpus-1",
        sources=["text"],
        is_demo=False,
        num_files=1,
        num_documents=46,
        num_bytes=46 * 78,
        num_dropped={},
        vocab_size=VOCAB_SIZE,
        tokenizer_sha256="tokenizer-1",
        tokens_per_byte=40 / 78,
        train=write_split(corpus, "train", num_documents=40, length=40),
        val=write_split(corpus, "val", num_documents=3, length=40),
        test=write_split(corpus, "test", num_documents=3, length=40),
    )
    write_json(corpus / "manifest.json", codec.encode(manifest))
    write_json(tmp_path / "study" / "plan.json", codec.encode(tiny_plan()))
    return tmp_path / "study"
