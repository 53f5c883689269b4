import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.codec import decode, encode
from isoflop.core.products import Interval, StudyWarning


@dataclass(frozen=True)
class Leaf:
    name: str
    size: int
    weight: float | None = None


@dataclass(frozen=True)
class Tree:
    kind: Literal["oak", "elm"]
    leaves: list[Leaf] = field(default_factory=list)
    heights: tuple[float, ...] = ()
    counts: dict[int, int] = field(default_factory=dict)
    extra: Any = None
    alive: bool = True


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.builds(Leaf, st.text(), st.integers(), st.none() | NUMBERS)
TREES = st.builds(
    Tree,
    st.sampled_from(["oak", "elm"]),
    st.lists(LEAVES, max_size=3),
    st.lists(NUMBERS, max_size=3).map(tuple),
    st.dictionaries(st.integers(), st.integers(), max_size=3),
    st.none() | st.text(),
    st.booleans(),
)


@given(TREES)
def test_a_value_survives_json(tree: Tree) -> None:
    assert decode(Tree, json.loads(json.dumps(encode(tree)))) == tree


def test_numpy_scalars_become_plain_numbers() -> None:
    encoded = encode(Interval(np.float32(0.5), np.float64(0.25), 1.0))
    assert encoded == {"central": 0.5, "low": 0.25, "high": 1.0, "level": 0.9}
    assert type(encoded["central"]) is float


def test_whole_numbers_are_accepted_as_floats() -> None:
    assert decode(Leaf, {"name": "a", "size": 1, "weight": 2}) == Leaf("a", 1, 2.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "ash"}, "tree.kind: expected"),
        ({}, "tree: .*kind"),
        ({"kind": "oak", "colour": "red"}, "tree: unknown field 'colour' for Tree"),
        ({"kind": "oak", "leaves": [{"name": "a", "size": "1"}]}, r"tree.leaves\[0\].size: expected int, found '1'"),
        ({"kind": "oak", "leaves": [{"name": "a", "size": True}]}, r"tree.leaves\[0\].size: expected int"),
        ({"kind": "oak", "heights": ["tall"]}, r"tree.heights\[0\]: expected float"),
        ({"kind": "oak", "heights": [True]}, r"tree.heights\[0\]: expected float"),
        ({"kind": "oak", "counts": [1]}, "tree.counts: expected"),
        ({"kind": "oak", "leaves": {}}, "tree.leaves: expected"),
        ({"kind": "oak", "alive": 1}, "tree.alive: expected bool"),
        (["oak"], "tree: expected Tree"),
    ],
)
def test_what_does_not_fit_is_named(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(Tree, value, where="tree")


def test_lists_of_dataclasses() -> None:
    assert decode(list[StudyWarning], [{"code": "c", "message": "m"}]) == [StudyWarning("c", "m")]
