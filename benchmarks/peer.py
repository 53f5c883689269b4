"""A peer on the same text, tokenizer and machine: Hugging Face's Trainer with its default recipe, for a wall budget.

    python benchmarks/peer.py --study demo-study --minutes 10 --out peer.json
    python benchmarks/peer.py --study demo-study --minutes 10 --learning-rate 5e-4 --out peer-tuned.json
    python benchmarks/peer_compare.py --study demo-study --peer peer.json

The peer takes the plan's width, depth, heads, vocabulary and context from the study, and everything else from its own
defaults (transformers: TrainingArguments, GPT2Config). What the peer is given for free: its clock starts at its first
step and stands still while its curve is measured, so importing, reading, timing and scoring cost it nothing; isoflop
pays for all of these. One JSON object is printed: the final bits per byte and the curve.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    default_data_collator,
)

from isoflop.core import codec
from isoflop.core.files import read_array, read_json, write_json
from isoflop.core.products import CorpusManifest, Plan, Split
from isoflop.evaluate.score import score_documents
from isoflop.model.config import ModelConfig
from isoflop.model.export import hugging_face_views
from isoflop.model.transformer import Transformer
from isoflop.train.target import EVALUATION_SHARE, NUM_EVALUATIONS

TRIAL_STEPS_SKIPPED = 3
"""First steps of the timing trial that warm caches and are not counted."""
TRIAL_SHARE = 0.05
"""Length of the timing trial, as a share of the budget."""


@dataclass(frozen=True)
class Study:
    """What the peer takes from an isoflop study folder."""

    corpus: Path
    manifest: CorpusManifest
    plan: Plan

    @classmethod
    def open(cls, folder: Path) -> Study:
        """Reads the manifest and the plan; raises `CorruptFileError` or ``FileNotFoundError`` where there are none."""
        manifest = codec.decode(CorpusManifest, read_json(folder / "corpus" / "manifest.json"))
        return cls(folder / "corpus", manifest, codec.decode(Plan, read_json(folder / "plan.json")))

    def tokens(self, split: Split) -> np.ndarray[Any, Any]:
        """The split's token ids [num_tokens], its shards verified and joined."""
        return np.concatenate([read_array(self.corpus / shard.file, shard.sha256) for shard in split.shards])

    def documents(self, split: Split) -> np.ndarray[Any, Any]:
        """Tokens and bytes of each document, int64 [num_documents, 2]."""
        return np.asarray(read_array(self.corpus / split.documents.file, split.documents.sha256))


class Blocks(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Consecutive blocks of ``context`` tokens, as transformers' run_clm cuts them; the short rest is dropped."""

    def __init__(self, ids: np.ndarray[Any, Any], *, context: int) -> None:
        self.blocks = ids[: len(ids) // context * context].reshape(-1, context)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        block = torch.from_numpy(self.blocks[index].astype(np.int64))
        return {"input_ids": block, "labels": block}


def build_peer(plan: Plan, *, family: str, context: int) -> transformers.PreTrainedModel:
    """A GPT-2 or Llama of the plan's size, freshly initialised by transformers; other fields keep its defaults."""
    shape = plan.model
    if family == "gpt2":
        gpt2 = transformers.GPT2Config(
            vocab_size=shape["vocab_size"],
            n_embd=shape["hidden_size"],
            n_layer=shape["num_hidden_layers"],
            n_head=shape["num_attention_heads"],
            n_positions=context,
        )
        return transformers.GPT2LMHeadModel(gpt2)
    llama = transformers.LlamaConfig(
        vocab_size=shape["vocab_size"],
        hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        num_hidden_layers=shape["num_hidden_layers"],
        num_attention_heads=shape["num_attention_heads"],
        max_position_embeddings=context,
    )
    return transformers.LlamaForCausalLM(llama)


def isoflop_twin(peer: transformers.PreTrainedModel) -> Transformer:
    """The peer's weights in isoflop's own transformer: the same function, which isoflop's scorer can read."""
    shape = peer.config
    is_gpt2 = shape.model_type == "gpt2"
    config = ModelConfig(
        family="gpt2" if is_gpt2 else "llama",
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        intermediate_size=4 * shape.hidden_size if is_gpt2 else shape.intermediate_size,
        max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=shape.tie_word_embeddings,
        norm_eps=shape.layer_norm_epsilon if is_gpt2 else shape.rms_norm_eps,
    )
    twin = Transformer(config).to(peer.device)
    weights = peer.state_dict()
    for name, view in hugging_face_views(twin).items():
        view.copy_(weights[name])
    return twin


class Scorer:
    """Bits per byte of the peer on a split, by the definition and the code that score isoflop's own models."""

    def __init__(self, study: Study, *, context: int) -> None:
        self.study, self.context = study, context
        self.cache = {
            name: (study.tokens(split), study.documents(split))
            for name, split in (("val", study.manifest.val), ("test", study.manifest.test))
        }

    def score(self, peer: transformers.PreTrainedModel, split: str, *, max_tokens: int | None = None) -> dict[str, Any]:
        """Nats / (ln 2 x bytes) over the split's documents, or over evenly spread prefixes of ``max_tokens`` in all."""
        ids, documents = self.cache[split]
        scores = score_documents(
            isoflop_twin(peer),
            ids,
            documents,
            context=self.context,
            batch_tokens=8 * self.context,
            dtype=torch.float32,
            max_tokens=max_tokens,
        )
        num_bytes = float(np.sum(scores.num_bytes))
        return {"bits_per_byte": float(np.sum(scores.nats)) / (math.log(2) * num_bytes), "num_bytes": round(num_bytes)}


@dataclass
class Clock(TrainerCallback):
    """Stops training when the budget is spent and measures the curve; its clock stands still while it measures."""

    budget_seconds: float
    measure: Callable[[transformers.PreTrainedModel], dict[str, Any]] | None = None
    every_seconds: float = 30.0
    curve: list[dict[str, Any]] = field(default_factory=list)
    step_ends: list[float] = field(default_factory=list)
    """Training seconds at which each step ended."""
    started: float = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        seconds = time.monotonic() - self.started
        self.step_ends.append(seconds)
        if seconds >= self.budget_seconds:
            control.should_training_stop = True
        if self.measure is not None and seconds >= self.every_seconds * (len(self.curve) + 1):
            self.curve.append({"seconds": round(seconds, 3), "step": state.global_step, **self.measure(given["model"])})
            self.started = time.monotonic() - seconds

    @property
    def seconds(self) -> float:
        return self.step_ends[-1]

    @property
    def steps_per_second(self) -> float:
        """Mean rate without the first steps, which also warm caches."""
        first = min(TRIAL_STEPS_SKIPPED, len(self.step_ends)) - 1
        if first == len(self.step_ends) - 1:
            return len(self.step_ends) / self.seconds
        return (len(self.step_ends) - 1 - first) / (self.seconds - self.step_ends[first])


def train(
    peer: transformers.PreTrainedModel, blocks: Blocks, *, max_steps: int, learning_rate: float | None, clock: Clock
) -> TrainingArguments:
    """Trainer's default recipe over ``max_steps``; only the learning rate may differ. Nothing is saved or logged."""
    recipe: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    quiet: dict[str, Any] = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(output_dir=folder, max_steps=max_steps, **recipe, **quiet)
        trainer = Trainer(peer, arguments, train_dataset=blocks, data_collator=default_data_collator, callbacks=[clock])
        trainer.remove_callback(transformers.PrinterCallback)  # standard output is for the result alone
        trainer.train()
    return arguments


def curve_tokens(plan: Plan) -> int:
    """As many validation tokens as the plan's own run is evaluated on, so that both curves are of the same text."""
    return int(EVALUATION_SHARE / NUM_EVALUATIONS * 3 * plan.tokens)


def measure_rate(build: Callable[[], transformers.PreTrainedModel], blocks: Blocks, *, seconds: float) -> float:
    """Steps per second of a throwaway peer trained for about ``seconds``."""
    trial = Clock(budget_seconds=seconds)
    train(build(), blocks, max_steps=1_000_000, learning_rate=None, clock=trial)
    return trial.steps_per_second


def run_peer(
    study: Study, *, minutes: float, family: str, learning_rate: float | None, every_seconds: float
) -> dict[str, Any]:
    """Times, trains and scores one peer; returns everything `peer_compare` and a reader need."""
    context = study.plan.recipe.context
    blocks = Blocks(study.tokens(study.manifest.train), context=context)

    def build() -> transformers.PreTrainedModel:
        return build_peer(study.plan, family=family, context=context)

    scorer = Scorer(study, context=context)
    val_tokens = curve_tokens(study.plan)
    rate = measure_rate(build, blocks, seconds=60 * minutes * TRIAL_SHARE)
    max_steps = max(1, round(60 * minutes * rate))
    transformers.set_seed(42)  # Trainer's default seed, here also for the initial weights
    peer = build()
    clock = Clock(60 * minutes, lambda model: scorer.score(model, "val", max_tokens=val_tokens), every_seconds)
    arguments = train(peer, blocks, max_steps=max_steps, learning_rate=learning_rate, clock=clock)
    steps = len(clock.step_ends)
    return {
        "peer": f"transformers {transformers.__version__} Trainer, {type(peer).__name__}",
        "corpus_fingerprint": study.manifest.fingerprint,
        "tokenizer_sha256": study.manifest.tokenizer_sha256,
        "num_parameters": sum(parameter.numel() for parameter in peer.parameters()),
        "plan_num_parameters": study.plan.num_parameters.all,
        "learning_rate": arguments.learning_rate,
        "batch_tokens": arguments.train_batch_size * context,
        "context": context,
        "num_threads": torch.get_num_threads(),
        "budget_seconds": 60 * minutes,
        "seconds": clock.seconds,
        "steps": steps,
        "max_steps": max_steps,
        "tokens": steps * arguments.train_batch_size * context,
        "curve": clock.curve,
        "val_curve_subset": scorer.score(peer, "val", max_tokens=val_tokens),
        "val": scorer.score(peer, "val"),
        "test": scorer.score(peer, "test"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--study", type=Path, required=True, help="a finished isoflop study (corpus/ and plan.json are read)"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="wall budget of the peer's training")
    parser.add_argument("--peer", choices=("hf", "hf-llama"), default="hf", help="Trainer with GPT-2, or with Llama")
    parser.add_argument("--learning-rate", type=float, help="default: Trainer's own, 5e-5; 5e-4 is a tuned default")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between points of the curve")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    given = parser.parse_args()
    result = run_peer(
        Study.open(given.study),
        minutes=given.minutes,
        family="llama" if given.peer == "hf-llama" else "gpt2",
        learning_rate=given.learning_rate,
        every_seconds=given.every,
    )
    if given.out:
        write_json(given.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
