"""Several sources in wanted shares: the scarcest is used whole, of the others as much as the shares allow.

Nothing is repeated here, so every token of a prepared text is a new one, as the scaling law takes it; epochs come with
training, over all sources alike. Which documents of a source are used is told by their identities alone.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.core.card import Share
from isoflop.core.errors import TextError
from isoflop.text.collect.sources import absolute, is_url
from isoflop.text.gather import Source

_KEYS = {"name", "texts", "weight", "field"}
_REMEDY = 'Write [[source]] tables with name = "...", texts = ["..."], weight = 1.0 and, if need be, field = "..."'


def read_mix(path: Path) -> tuple[Source, ...]:
    """The sources of a ``mix.toml``; their texts lie relative to it. Raises `TextError` for what is not one."""
    if not path.is_file():
        raise TextError("no such file", where=str(path), remedy=_REMEDY)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("source", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TextError(f"not TOML ({error})", where=str(path), remedy=_REMEDY) from error
    if not isinstance(tables, list) or not tables:
        raise TextError("no [[source]] in it", where=str(path), remedy=_REMEDY)
    sources = tuple(_source(table, path, number) for number, table in enumerate(tables, start=1))
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise TextError("two sources of one name", where=str(path), remedy="Give each another")
    return sources


def _source(table: Any, path: Path, number: int) -> Source:
    where = f"{path}, source {number}"
    if not isinstance(table, dict) or not {"name", "texts"} <= set(table) <= _KEYS:
        raise TextError("keys that are missing or unknown", where=where, remedy=_REMEDY)
    name, texts, weight, field = table["name"], table["texts"], table.get("weight", 1.0), table.get("field")
    texts = [texts] if isinstance(texts, str) else texts
    fits = isinstance(name, str) and isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not (fits and texts and isinstance(weight, (int, float)) and isinstance(field, str | None)):
        raise TextError("values of the wrong kind", where=where, remedy=_REMEDY)
    if not (weight > 0 and math.isfinite(weight)):
        raise TextError(f"{weight:g} is no weight", where=where, remedy="Give one above zero")
    inputs = tuple(text if is_url(text) else absolute(path.parent / text) for text in texts)
    return Source(name, inputs, field, float(weight))


def shares(num_bytes: Mapping[str, int], weights: Mapping[str, float]) -> list[Share]:
    """What is used of each source that has ``num_bytes``, so that the bytes used are as the ``weights``."""
    total = sum(weights[name] for name in num_bytes)
    whole = min(num_bytes[name] / weights[name] for name in num_bytes) * total
    return [
        Share(
            name, weights[name], num_bytes[name], weights[name] / total, whole * weights[name] / total / num_bytes[name]
        )
        for name in num_bytes
    ]


def chosen(ids: list[bytes], used: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[documents]: whether each is in a part ``used`` [documents] of all, by its identity."""
    places = np.array([int.from_bytes(digest[8:16], "little") for digest in ids], dtype=np.float64) / 2.0**64
    result: NDArray[np.bool_] = places < used
    return result
