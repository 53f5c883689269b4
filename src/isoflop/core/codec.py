"""Dataclasses to plain JSON values and back, checked against their annotations."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import Counter
from pathlib import PurePath
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """A JSON-ready copy of dataclasses, mappings, sequences, scalars and paths."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return value.item()  # a numpy scalar
    return value


def decode(kind: Any, value: Any, *, where: str = "value") -> Any:
    """Rebuilds ``kind`` from JSON; raises ``ValueError`` naming the field that does not fit."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(kind, value, where)
    if origin is typing.Literal:
        return _require(value in typing.get_args(kind), value, kind, where)
    if origin in (list, tuple):
        _require(isinstance(value, list), value, kind, where)
        item_kinds = typing.get_args(kind)
        items = [decode(item_kinds[0], item, where=f"{where}[{i}]") for i, item in enumerate(value)]
        return items if origin is list else tuple(items)
    if origin in (dict, Counter):
        _require(isinstance(value, dict), value, kind, where)
        key_kind, item_kind = (*typing.get_args(kind), int)[:2]  # a Counter names its keys alone
        return origin({key_kind(key): decode(item_kind, item, where=f"{where}.{key}") for key, item in value.items()})
    if kind is float:
        _require(isinstance(value, (int, float)) and not isinstance(value, bool), value, kind, where)
        return float(value)
    return _require(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), value, kind, where)


def _decode_dataclass(kind: type[T], value: Any, where: str) -> T:
    _require(isinstance(value, dict), value, kind, where)
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(value) - names)
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r} for {kind.__name__}")
    try:
        return kind(**{name: decode(hints[name], item, where=f"{where}.{name}") for name, item in value.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _decode_union(kind: Any, value: Any, where: str) -> Any:
    options = typing.get_args(kind)
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    return decode(rest[0], value, where=where)


def _require(fits: bool, value: Any, kind: Any, where: str) -> Any:
    if not fits:
        raise ValueError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {str(value)[:60]!r}")
    return value
