from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from isoflop.core.errors import TextError
from isoflop.fleet.local import Local
from isoflop.text.gather import Source
from isoflop.text.mixture import chosen, read_mix, shares
from isoflop.text.pipeline import Recipe, refine_text
from isoflop.text.refine import Refinement
from toy import write_texts

MIX = """
[[source]]
name = "novels"
texts = ["novels", "more/*.txt"]
weight = 3

[[source]]
name = "web"
texts = "s3://bucket/web"
field = "body"
"""


def test_sources_are_read_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "mix.toml").write_text(MIX)
    novels, web = read_mix(tmp_path / "mix.toml")
    assert novels == Source("novels", (str(tmp_path / "novels"), str(tmp_path / "more/*.txt")), None, 3.0)
    assert web == Source("web", ("s3://bucket/web",), "body", 1.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no \\[\\[source\\]\\] in it"),
        ("[[source", "not TOML"),
        ('[[source]]\nname = "a"', "source 1: keys that are missing or unknown"),
        ('[[source]]\nname = "a"\ntexts = "a"\nwieght = 2', "keys that are missing or unknown"),
        ('[[source]]\nname = "a"\ntexts = 7', "values of the wrong kind"),
        ('[[source]]\nname = "a"\ntexts = "a"\nweight = 0', "0 is no weight"),
        ('[[source]]\nname = "a"\ntexts = "a"\nweight = nan', "nan is no weight"),
        ('[[source]]\nname = "a"\ntexts = "a"\n' * 2, "two sources of one name"),
    ],
)
def test_what_is_no_mixture_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mix.toml").write_text(text)
    with pytest.raises(TextError, match=told):
        read_mix(tmp_path / "mix.toml")
    with pytest.raises(TextError, match="no such file"):
        read_mix(tmp_path / "nowhere.toml")


def test_the_scarcest_source_is_used_whole_and_shares_are_as_the_weights() -> None:
    found = {share.source: share for share in shares({"a": 100, "b": 1000, "c": 50}, {"a": 1.0, "b": 2.0, "c": 1.0})}
    assert {name: share.used for name, share in found.items()} == pytest.approx({"a": 0.5, "b": 0.1, "c": 1.0})
    assert {name: share.share for name, share in found.items()} == pytest.approx({"a": 0.25, "b": 0.5, "c": 0.25})


def part(ids: list[bytes], used: float) -> np.ndarray:
    return chosen(ids, np.full(len(ids), used))


def test_a_part_is_chosen_by_identity_alone() -> None:
    ids = [hashlib.blake2b(bytes([i % 256, i // 256]), digest_size=16).digest() for i in range(4000)]
    some = part(ids, 0.3)
    assert some.mean() == pytest.approx(0.3, abs=0.03)
    assert part(ids[::-1], 0.3).tolist() == some[::-1].tolist()
    assert not (some & ~part(ids, 0.5)).any() and part(ids, 1.0).all() and not part(ids, 0.0).any()


def test_a_text_is_mixed_by_weights(tmp_path: Path) -> None:
    write_texts(tmp_path / "all")
    for i, path in enumerate(sorted((tmp_path / "all").iterdir())):
        folder = tmp_path / ("a" if i < 40 else "b")
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    sources = tuple(Source(name, (str(tmp_path / name),), None, weight) for name, weight in (("a", 1.0), ("b", 1.0)))
    recipe = Recipe(sources, Refinement(rules=()))
    card = refine_text(recipe, tmp_path / "out", executor=Local(1), watts=1.0)
    a, b = card.mixture
    assert b.used == 1.0 and a.used == pytest.approx(0.5, abs=0.03)
    assert card.tally.bytes_by_source["b"] == b.num_bytes
    assert card.tally.bytes_by_source["a"] == pytest.approx(b.num_bytes, rel=0.4)
    assert card.tally.dropped["mixture"] == 60 - card.num_documents
    alone = Recipe((sources[0], Source("c", (str(tmp_path / "b" / "no*"),), None, 1.0)), Refinement(rules=()))
    with pytest.raises(TextError, match="no such file or folder"):
        refine_text(alone, tmp_path / "other", executor=Local(1), watts=1.0)
