"""Documents in one buffer, and Arrow arrays made of buffers, are what Arrow itself makes of the values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from isoflop.text.texts import Texts, booleans, strings


@given(st.lists(st.text(max_size=20), max_size=12))
def test_strings_are_those_of_arrow(values: list[str]) -> None:
    encoded = [value.encode() for value in values]
    for kind in (pa.large_string(), pa.string(), pa.binary()):
        made = strings(encoded, kind)
        made.validate(full=True)
        assert made.equals(pa.array(encoded if kind == pa.binary() else values, kind))
    assert list(Texts.of_arrow(strings(encoded))) == list(Texts.of(encoded)) == encoded


@given(st.lists(st.booleans(), max_size=40))
def test_booleans_are_those_of_arrow(values: list[bool]) -> None:
    made = booleans(np.array(values, dtype=np.bool_))
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.bool_()))
