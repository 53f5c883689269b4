"""Small things that several rooms' tests need: text, a model, a recipe, a stream of tokens, and the command line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from isoflop.core import products
from isoflop.core.ledger import Ledger
from isoflop.core.products import Interval, Recipe
from isoflop.core.progress import Progress
from isoflop.core.records import Record
from isoflop.core.session import Session
from isoflop.estimate.shapes import Shape
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters

SUBJECTS = ("the senator", "a farmer", "our neighbour", "the old miller", "his sister", "the captain", "a young clerk")
VERBS = ("praised", "repaired", "sold", "forgot", "carried", "painted", "found", "counted", "hid", "borrowed")
OBJECTS = ("the red boat", "two letters", "an empty barrel", "the village clock", "a heavy gate", "some bread")
ENDINGS = ("before noon", "in the rain", "without a word", "for the third time", "near the bridge", "last winter")


def zstd(data: bytes) -> bytes:
    """One frame."""
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip archive of files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], link: str = "") -> bytes:
    """A tar archive of files by name, and perhaps of a link out of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return buffer.getvalue()


def write_texts(folder: Path, *, num_files: int = 60, sentences: int = 90) -> Path:
    """Some 60 documents of 5 kB: sentences drawn from a small grammar, no two files alike."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for i in range(num_files):
        lines = [
            " ".join(str(generator.choice(part)) for part in (SUBJECTS, VERBS, OBJECTS, ENDINGS)).capitalize() + "."
            for _ in range(sentences + i % 7)
        ]
        (folder / f"{i:03d}.txt").write_text(" ".join(lines) + "\n")
    return folder


def flipped(data: bytes, generator: np.random.Generator) -> bytes:
    place, changed = int(generator.integers(len(data))), bytearray(data)
    changed[place] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def zeroed(data: bytes, generator: np.random.Generator) -> bytes:
    start = int(generator.integers(len(data)))
    page = data[start : start + 256]
    return data[:start] + bytes(len(page)) + data[start + 256 :]


def shortened(data: bytes, generator: np.random.Generator) -> bytes:
    return data[: int(generator.integers(len(data)))]


DAMAGES = (flipped, zeroed, shortened)
"""What happens to files: a bit, a page, the end."""


def config(**changes: Any) -> ModelConfig:
    """Two layers of width 64, 61 words, 16 tokens."""
    fields: dict[str, Any] = {
        "vocab_size": 61,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "max_position_embeddings": 16,
    }
    return ModelConfig(**(fields | changes))


def recipe(**changes: Any) -> Recipe:
    """40 steps of four sequences of 16 tokens."""
    fields: dict[str, Any] = {
        "optimizer": "muon",
        "context": 16,
        "batch_tokens": 64,
        "num_steps": 40,
        "learning_rate": 0.005,
        "weight_decay": 0.1,
        "warmup_fraction": 0.1,
        "decay_fraction": 0.4,
        "clip_norm": 1.0,
        "seed": 3,
        "unique_tokens": 1000,
    }
    return Recipe(**(fields | changes))


def gpt(hidden_size: int, layers: int, heads: int, *, vocab_size: int = 51_200) -> Shape:
    """As Megatron-LM builds them: 2,048 positions, embeddings tied."""
    return Shape(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=2048,
        family="gpt2",
        tie_word_embeddings=True,
    )


def stream(num_tokens: int = 1000, *, vocab_size: int = 61, seed: int = 0) -> np.ndarray:
    """Tokens that a model can learn: each follows from the one before, but for one in ten."""
    generator = np.random.default_rng(seed)
    jumps = generator.integers(0, vocab_size, num_tokens)
    tokens = np.zeros(num_tokens, dtype=np.uint16)
    for i in range(1, num_tokens):
        tokens[i] = jumps[i] if jumps[i] % 10 == 0 else (7 * int(tokens[i - 1]) + 1) % vocab_size
    return tokens


def plan(shape: ModelConfig, chosen: Recipe, **changes: Any) -> products.Plan:
    """A plan of this shape and recipe whose promises mean nothing."""
    any_interval = Interval(1.0, 0.5, 2.0)
    tokens = chosen.num_steps * chosen.batch_tokens
    fields: dict[str, Any] = {
        "model": asdict(shape),
        "num_parameters": count_parameters(shape),
        "recipe": chosen,
        "tokens": tokens,
        "epochs": tokens / chosen.unique_tokens,
        "dtype": "float32",
        "compiled": False,
        "num_threads": 1,
        "continues": None,
        "training_seconds": 1000.0,
        "tokens_per_second": 1e4,
        "flops": 1e9,
        "memory_bytes": 1,
        "forecast": products.Forecast(any_interval, any_interval, any_interval, any_interval, None, None),
        "candidates": [],
        "what_if": [],
    }
    return products.Plan(**(fields | changes))


def session(write: Callable[[Record], None], *, seconds_left: float = 100.0) -> Session:
    """A session that shows nothing."""
    return Session(write, Ledger(write), Progress(remaining=lambda: 0.0, quiet=True), lambda: seconds_left)


def rarely(*values: object) -> Any:
    """A parameter that only ``make test-long`` and ``make test-faults`` try."""
    return pytest.param(*values, marks=pytest.mark.long)


def isoflop(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "isoflop", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environment())


def environment() -> dict[str, str]:
    """One thread outside our own control, plain output."""
    return os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "120"}
