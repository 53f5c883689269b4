"""The finished model on the test documents, which trained and chose nothing, beside the yardsticks, and samples."""

from __future__ import annotations

import numpy as np

from isoflop.core.products import CorpusManifest
from isoflop.core.records import Sampled, Scored
from isoflop.core.session import Session
from isoflop.evaluate.score import bits_per_byte
from isoflop.evaluate.yardsticks import token_counts, unigram_bits_per_byte, xz_bits_per_byte
from isoflop.model.generate import generate
from isoflop.stages.train import trained
from isoflop.study import Study
from isoflop.text import prepare as text
from isoflop.train.pilot import score_split
from isoflop.train.trainer import Trainer

SAMPLE_TOKENS = 120


def evaluate(study: Study, session: Session) -> None:
    """Bits per byte on the test documents, beside the yardsticks, and samples."""
    with session.ledger.activity("evaluate", "productive"):
        trainer, manifest, plan = trained(study), study.manifest, study.plan
        ids = text.open_split(study.corpus, manifest.test)[0]
        documents = text.open_documents(study.corpus, manifest.test)
        scores = score_split(trainer, study.corpus, manifest.test, num_tokens=None, dtype=plan.dtype)
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
    counts = token_counts(text.open_split(study.corpus, manifest.train), manifest.vocab_size)
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
