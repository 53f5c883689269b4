from __future__ import annotations

import re
from collections import Counter
from typing import Any

import vl_convert

from isoflop.core import codec
from isoflop.core.card import Cluster, DataCard, Share, StageCost, Tally, TextShard
from isoflop.report.card import card_page, funnel, sizes


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    vl_convert.vegalite_to_vega(spec)  # Vega's own compiler takes it
    return next(iter(spec["datasets"].values()))


def card() -> DataCard:
    tally = Tally(num_read=10, bytes_read=5_000_000, refused=Counter(corrupt=2), refusals=["a.gz: corrupt gz <b>"])
    tally.drop("gopher_short", 1_000_000, "too <short>")
    tally.drop("near_duplicate", 500_000, "twice")
    tally.bytes_by_source.update(novels=3_000_000, web=500_000)
    tally.languages.update(en=7, de=1)
    tally.sizes[10] = 6
    tally.sizes[12] = 4
    tally.redacted.update(email=3)
    return DataCard(
        version=1,
        sources=["a"],
        recipe={},
        tally=tally,
        shards=[TextShard("text/0.parquet", "ab", 8, 3_500_000)],
        num_clusters=1,
        clusters=[Cluster(2, "a.txt line 3", "twice")],
        costs=[StageCost("gather", 2, 61.0, 120.0), StageCost("sift", 2, 1.0, 2.0)],
        benchmarks={"quiz": 40},
        mixture=[Share("novels", 6.0, 3_000_000, 0.857, 1.0)],
    )


def test_the_page_holds_what_became_of_the_text() -> None:
    html = card_page(card(), None)
    for told in (
        "8 documents of 10 are kept",
        "gopher_short",
        "corrupt gz &lt;b&gt;",
        "too &lt;short&gt;",
        "a.txt line 3",
        "email",
        "quiz",
    ):
        assert told in html
    assert 'src="http' not in html and 'href="http' not in html
    for anchor in re.findall(r'href="#([\w-]+)"', html):
        assert f'id="{anchor}"' in html


def test_the_funnel_is_kept_first_and_then_the_largest_losses() -> None:
    rows = values(funnel(card()))
    assert [(row["what"], row["megabytes"], row["documents"]) for row in rows] == [
        ("kept", 3.5, 8),
        ("gopher short", 1.0, 1),
        ("near duplicate", 0.5, 1),
    ]


def test_sizes_have_every_bar_between_the_first_and_the_last() -> None:
    assert [row["documents"] for row in values(sizes(card()))] == [6, 0, 4]


def test_a_card_is_read_as_written() -> None:
    assert codec.decode(DataCard, codec.encode(card())) == card()


def test_tallies_add_up() -> None:
    one, two = card().tally, card().tally
    total = Tally.total([one, two])
    assert total.num_read == 20 and total.dropped == {"gopher_short": 2, "near_duplicate": 2}
    assert total.sizes[10] == 12 and total.samples["gopher_short"] == ["too <short>"] * 2
    assert one.num_read == 10
