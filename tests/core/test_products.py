from __future__ import annotations

import pytest

from isoflop.core.products import Shard, Split


@pytest.mark.parametrize(("num_bytes", "tokens_a_byte"), [(500_000, 0.27), (540_000, 0.25)])
def test_bits_per_nat_by_hand(num_bytes: int, tokens_a_byte: float) -> None:
    nothing = Shard("", "", 0)
    split = Split(num_documents=1, num_bytes=num_bytes, num_tokens=135_000, shards=[], documents=nothing)
    assert split.bits_per_nat == pytest.approx(tokens_a_byte * 1.4426950408889634)  # 1 / ln 2 bits a nat
