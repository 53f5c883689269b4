"""Documents to token ids: by gigatoken where it is installed and proves itself, by tokenizers otherwise.

gigatoken has one author and tables of its own for Unicode's classes, so its ids are compared with those of tokenizers
on a sample of every text, and on the characters that such tables differ about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from isoflop.text.tokenizer import (
    END_OF_TEXT,
    LARGEST_VOCAB,
    cut_for_encoding,
    end_of_text_id,
    num_ids,
    parse_tokenizer,
    splits_like_gpt2,
)

Ids = NDArray[np.unsignedinteger[Any]]
"""uint16, or uint32 where the vocabulary needs it."""
Encode = Callable[[Sequence[bytes]], list[Ids]]
"""Documents of UTF-8 to the ids of each, followed by end-of-text."""
SAMPLE_BYTES = 128_000
_RENEWED_BYTES = 64_000_000
"""After so much text gigatoken is loaded anew: it remembers all words it has met."""
_TRICKY = (
    f"{END_OF_TEXT} don't I'LL \u00a0\u2003x\u3000 \x85\x1c\u2028y\r\n\t z  \n\n  a\u0301 e\u0308 \u0660\u0661 \u00b2"
    "\u00bd\u2160 \u1e9e\u01c5 \u0e01\u0e33 \u0928\u094d \uac00\u1100 \U0001f468\u200d\U0001f469 \U00020000 \ufeff"
    "\u200b\u00ad 12,345.6e-7"
).encode()


@lru_cache(maxsize=1)
def encoder_of(serialized: str, *, fast: bool) -> Encode:
    """The way to the ids of the tokenizer of this JSON: by gigatoken where it was found right (`is_fast_right`)."""
    tokenizer = parse_tokenizer(serialized)
    quick = _by_gigatoken(tokenizer) if fast else None
    return quick or _by_tokenizers(tokenizer)


def is_fast_right(serialized: str, sample: Sequence[bytes]) -> bool:
    """Whether gigatoken gives the ids that the tokenizer of this JSON gives; ``sample`` are documents to compare on.

    Where it is, this process has the encoder afterwards."""
    tokenizer = parse_tokenizer(serialized)
    fast, reference = encoder_of(serialized, fast=True), _by_tokenizers(tokenizer)
    added = " ".join(token.content for token in tokenizer.get_added_tokens_decoder().values())
    texts = [_TRICKY, added.encode(), *_first(sample, SAMPLE_BYTES)]
    return all(np.array_equal(a, b) for a, b in zip(fast(texts), reference(texts), strict=True))


def _first(documents: Sequence[bytes], most: int) -> list[bytes]:
    """The first documents that together have at least ``most`` bytes, the last one cut."""
    found, left = [], most
    for data in documents:
        if left <= 0:
            break
        found.append(data[:left].decode(errors="ignore").encode())
        left -= len(data)
    return found


def _by_tokenizers(tokenizer: Tokenizer) -> Encode:
    dtype, end, may_cut = ids_dtype(tokenizer), end_of_text_id(tokenizer), splits_like_gpt2(tokenizer)

    def encode(documents: Sequence[bytes]) -> list[Ids]:
        pieces = [cut_for_encoding(data) if may_cut else [data.decode()] for data in documents]
        flat = [piece for cut in pieces for piece in cut]
        encodings = iter(tokenizer.encode_batch_fast(flat, add_special_tokens=False))
        return [_joined([next(encodings).ids for _ in cut] + [[end]], dtype) for cut in pieces]

    return encode


def _joined(parts: list[list[int]], dtype: type[np.unsignedinteger[Any]]) -> Ids:
    return np.concatenate([np.array(part, dtype=dtype) for part in parts])


def ids_dtype(tokenizer: Tokenizer) -> type[np.unsignedinteger[Any]]:
    """What holds its ids."""
    return np.uint16 if num_ids(tokenizer) <= LARGEST_VOCAB else np.uint32


def _by_gigatoken(tokenizer: Tokenizer) -> Encode | None:
    """None where it is not installed or does not know the tokenizer's kind."""
    try:
        import gigatoken
    except ImportError:
        return None
    specification = json.loads(tokenizer.to_str())
    added = specification["added_tokens"]
    specification["added_tokens"] = [token for token in added if not token["special"]]  # written in a text, it is text
    dtype, end = ids_dtype(tokenizer), end_of_text_id(tokenizer)
    source = json.dumps(specification)
    try:
        model = gigatoken.Tokenizer.from_json(source)
    except Exception:  # whatever it says of a kind that it does not know
        return None
    num_bytes = 0

    def encode(documents: Sequence[bytes]) -> list[Ids]:
        nonlocal model, num_bytes
        num_bytes += sum(map(len, documents))
        if num_bytes > _RENEWED_BYTES:
            model, num_bytes = gigatoken.Tokenizer.from_json(source), 0
        return [_ended(model.encode(data), end, dtype) for data in documents]  # many at once would come as awkward's

    return encode


def _ended(ids: Ids, end: int, dtype: type[np.unsignedinteger[Any]]) -> Ids:
    """With end-of-text behind them."""
    ended = np.empty(len(ids) + 1, dtype=dtype)
    ended[:-1], ended[-1] = ids, end
    return ended
