"""Byte-level BPE (GPT-2's split rule), trained on a sample and lossless on every text; or another's tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from isoflop.core.errors import TextError
from isoflop.core.executor import Executor
from isoflop.text.document import Documents, Indices
from isoflop.text.parts import each, spread

if TYPE_CHECKING:
    from isoflop.text.words import Words

R = TypeVar("R")
END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 0
"""In a vocabulary of ours."""
ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>", "[SEP]")
"""What others call the end of a text: GPT-2 and many more, Llama 3, Llama 2 and T5, Gemma, DeepSeek, BERT."""
SMALLEST_VOCAB = 257
"""256 bytes and end-of-text."""
LARGEST_VOCAB = 1 << 16
"""So many ids fit uint16; one of ours has no more."""
_SAMPLE_BYTES = 8_000_000
_SAMPLE_PIECE_BYTES = 16_384
_PIECE_BYTES = 16_384
_A_TOKENIZER = "Give the file that transformers or tokenizers saves"
_SAFE_CUT = re.compile(rb"[!-~](?=[ \n])")


def choose_vocab_size(num_bytes: int) -> int:
    """Vocabulary for a corpus of ``num_bytes``: 1,024 below 1 MB, 2,048 to 5 MB, 4,096 to 100 MB, 8,192 above.

    Powers of two keep the matrices round; small, because a rare token's row in the embedding and head is paid for by
    every step and taught by few. Perhaps too small: on one text in five minutes 8,192 was better (docs/log.md, 26).
    """
    for bound, size in ((1_000_000, 1_024), (5_000_000, 2_048), (100_000_000, 4_096)):
        if num_bytes < bound:
            return size
    return 8_192


def train_tokenizer(
    documents: Documents, *, vocab_size: int, kernels: bool = False, executor: Executor | None = None
) -> Tokenizer:
    """Trains on at most about 8 MB spread evenly over ``documents``.

    The vocabulary has ``vocab_size`` entries, end-of-text (id 0) included, or fewer where the text repeats too little.
    With ``kernels`` compiled ones learn the same in a third of the time, once they are compiled, which takes seconds.
    Raises `TextError` for a size outside [257, 65536].
    """
    require_vocab_size(vocab_size)
    return plain(_by_kernels(documents, vocab_size, executor) if kernels else _by_tokenizers(documents, vocab_size))


def _by_tokenizers(documents: Documents, vocab_size: int) -> Tokenizer:
    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample(documents, _SAMPLE_BYTES), trainer)
    return tokenizer


def _by_kernels(documents: Documents, vocab_size: int, executor: Executor | None) -> Tokenizer:
    """Words are counted where the documents are read."""
    parts = [part for _, part in _sampled(_words, documents, _SAMPLE_BYTES, executor)]
    letters = _letters()
    words = [END_OF_TEXT, *sorted(letters)]
    vocab = {word: index for index, word in enumerate(words)}
    merges = []
    learn = partial(_learn, byte_ids=np.array([vocab[letter] for letter in letters]), num_ids=vocab_size)
    (learnt,) = each(learn, [parts], executor)
    for a, b in learnt.tolist():
        merges.append((words[a], words[b]))
        if vocab.setdefault(words[a] + words[b], len(words)) == len(words):
            words.append(words[a] + words[b])
    tokenizer = _byte_level(models.BPE(vocab=vocab, merges=merges))
    tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _letters() -> list[str]:
    """[256]: the character that stands for each byte, by GPT-2's table: itself if it can be printed in Latin-1."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printed)
    codes = {byte: byte for byte in printed} | {byte: 256 + number for number, byte in enumerate(others)}
    return [chr(codes[byte]) for byte in range(256)]


def require_vocab_size(vocab_size: int) -> None:
    """Raises `TextError` for one outside [257, 65536]."""
    if not SMALLEST_VOCAB <= vocab_size <= LARGEST_VOCAB:
        allowed = f"between {SMALLEST_VOCAB} and {LARGEST_VOCAB}"
        raise TextError(f"a vocabulary of {vocab_size} is not possible", remedy=f"Choose one {allowed}")


def parse_tokenizer(serialized: str) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``, treating text as `plain` does."""
    return plain(Tokenizer.from_str(serialized))


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Makes ``<|endoftext|>`` written in a text encode as the 13 characters it is (the file format has no such flag),
    and every text whole, as long as it is."""
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of another model. Raises `TextError` for what is no ``tokenizer.json``, or has no end of text."""
    try:
        serialized = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TextError(f"cannot be read ({error.strerror})", where=str(path), remedy="Check --tokenizer") from error
    except UnicodeDecodeError as error:
        raise TextError("not UTF-8", where=str(path), remedy=_A_TOKENIZER) from error
    try:
        tokenizer = parse_tokenizer(serialized)
    except Exception as error:  # tokenizers raises nothing more specific
        raise TextError(f"no tokenizer.json ({str(error)[:80]})", where=str(path), remedy=_A_TOKENIZER) from error
    if end_of_text(tokenizer) is None:
        remedy = f"Add a special token by one of the names {', '.join(ENDS[:4])}"
        raise TextError("the tokenizer has no end of text", where=str(path), remedy=remedy)
    return tokenizer


def end_of_text(tokenizer: Tokenizer) -> str | None:
    """What the tokenizer calls the end of a text: the first of ``ENDS`` among its special tokens."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    return next((name for name in ENDS if name in special), None)


def end_of_text_id(tokenizer: Tokenizer) -> int:
    """Of a tokenizer that has one."""
    number = tokenizer.token_to_id(str(end_of_text(tokenizer)))
    assert number is not None, "read_tokenizer refuses a tokenizer without an end of text"
    return number


def num_ids(tokenizer: Tokenizer) -> int:
    """One more than the largest id: some tokenizers leave ids out."""
    return int(max(tokenizer.get_vocab().values())) + 1


def splits_like_gpt2(tokenizer: Tokenizer) -> bool:
    """Whether `cut_for_encoding` changes none of its ids."""
    kind = json.loads(tokenizer.to_str())
    rule = kind["pre_tokenizer"] or {}
    by_bytes = rule.get("type") == "ByteLevel" and rule.get("use_regex", True) and not rule["add_prefix_space"]
    return bool(by_bytes) and kind["normalizer"] is None


def token_byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """int64 [vocab]: the bytes of text each token stands for; 0 for end-of-text.

    A byte-level token is written with one character a byte (GPT-2's byte-to-unicode table), so its length is its bytes.
    """
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, index in tokenizer.get_vocab().items():
        lengths[index] = 0 if index == END_OF_TEXT_ID else len(token)
    return lengths


def cut_for_encoding(data: bytes) -> list[str]:
    """Pieces of 16 kB and a little, so that threads share a long document; ids are those of the whole.

    Cuts lie between a printable ASCII character and a space or line feed. GPT-2's split rule
    ('s|'t|... | ?L+ | ?N+ | ?[^sLN]+ | s+(?!S) | s+, with s, S, L, N for its classes) has no match that goes from a
    non-space into a space, and its look-ahead only follows spaces: a match ends at such a place whatever comes after,
    and the next begins there whatever came before.
    """
    pieces = []
    start = 0
    while match := _SAFE_CUT.search(data, start + _PIECE_BYTES):
        pieces.append(data[start : match.end()].decode())
        start = match.end()
    return [*pieces, data[start:].decode()]


def sample(documents: Documents, most_bytes: int) -> list[str]:
    """Every k-th piece of the text, with k such that about ``most_bytes`` are read."""
    found = {
        index: pieces
        for part, texts in _sampled(_pieces, documents, most_bytes)
        for index, pieces in zip(part, texts, strict=True)
    }
    return [text for index in sorted(found) for text in found[index]]


def _sampled(
    work: Callable[[dict[bytes, int], int, Documents], R],
    documents: Documents,
    most_bytes: int,
    executor: Executor | None = None,
) -> Iterator[tuple[Indices, R]]:
    """What ``work`` makes of every k-th piece: it is given the first one of each document by its digest, k, and a part
    of the documents that have such a piece; and their places among those."""
    counts = -(-documents.sizes // _SAMPLE_PIECE_BYTES)
    step = max(1, -(-documents.num_bytes // most_bytes))
    firsts = (counts - np.cumsum(counts)) % step
    chosen = np.flatnonzero(firsts < counts)
    sampled = documents.take(chosen)
    by_digest = dict(zip(sampled.names(), firsts[chosen].tolist(), strict=True))
    yield from spread(partial(work, by_digest, step), sampled, executor)


def _pieces(firsts: dict[bytes, int], step: int, documents: Documents) -> list[list[str]]:
    """Of each document every so many-th piece, from that of its digest on."""
    return [
        [
            data[start : start + _SAMPLE_PIECE_BYTES].decode(errors="ignore")
            for start in range(firsts[name] * _SAMPLE_PIECE_BYTES, len(data), step * _SAMPLE_PIECE_BYTES)
        ]
        for name, data in zip(documents.names(), documents, strict=True)
    ]


def _words(firsts: dict[bytes, int], step: int, documents: Documents) -> Words:
    from isoflop.text.texts import Texts
    from isoflop.text.words import count_words

    pieces = _pieces(firsts, step, documents)
    return count_words(Texts.of([piece.encode() for texts in pieces for piece in texts]))


def _learn(parts: list[Words], byte_ids: np.ndarray, num_ids: int) -> np.ndarray:
    from isoflop.text.bpe import learn_merges
    from isoflop.text.words import joined

    return learn_merges(joined(parts), byte_ids, num_ids)
