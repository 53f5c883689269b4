"""The vocabulary that a budget and a text want, by the law's prior."""

import math

import numpy as np
import pytest

from isoflop.law.forms import PARAMS, TOKENS, UNIQUE
from isoflop.law.prior import Prior, Ratio, rises
from isoflop.plan.vocabulary import WORTH, Choice, choose, floor_rise
from isoflop.text.vocabulary import Cut

SPEECHES = [
    Cut(4_096, 0.2360, 6.631),
    Cut(8_192, 0.2101, 6.731),
    Cut(16_384, 0.1966, 6.705),
    Cut(32_768, 0.1907, 6.626),
]
NOVELS = [Cut(4_096, 0.2977, 6.562), Cut(8_192, 0.2734, 6.683), Cut(16_384, 0.2568, 6.719), Cut(32_768, 0.2469, 6.693)]


def test_what_two_texts_were_measured_to_want() -> None:
    """In five minutes, 5e13 FLOPs (docs/log.md, 26 and 30): speeches 8,192, 2 % better than 4,096, and 16,384 no
    better; novels 4,096, of which 8,192 is no better."""
    speeches = choose(SPEECHES, flops=5e13, num_bytes=11e6)
    novels = choose(NOVELS, flops=5e13, num_bytes=68e6)
    assert speeches.vocab_size == 8_192 and novels.vocab_size == 4_096
    bits = speeches.bits_per_byte
    assert bits[4_096] / bits[8_192] == pytest.approx(1.02, abs=0.01)
    assert bits[16_384] / bits[8_192] == pytest.approx(1.0, abs=0.01)


def test_the_smallest_of_those_nearly_best_is_taken() -> None:
    found = choose(SPEECHES, flops=1e14, num_bytes=11e6)
    least = min(found.bits_per_byte.values())
    fit = [size for size, bits in found.bits_per_byte.items() if bits <= (1 + WORTH) * least]
    assert found.vocab_size == min(fit)
    assert Choice(8, {4: 1.5, 8: 1.25}).rule == (
        "smallest within 1.5% of the least bits per byte predicted (4 1.500, 8 1.250)"
    )


def test_a_text_costs_at_the_end_as_many_bits_however_it_is_cut() -> None:
    """With endless tokens and parameters only the floor is left."""
    at = {name: np.array([1e40]) for name in (PARAMS, TOKENS, UNIQUE)}
    per_byte = [
        cut.tokens_per_byte
        * Prior.measured(cut.unigram_nats, rises=(floor_rise(cut, NOVELS[0]), rises(cut.vocab_size)[1])).losses(at)[0]
        for cut in NOVELS
    ]
    assert per_byte == pytest.approx([per_byte[0]] * 4, rel=1e-3)


def test_the_measured_vocabulary_adds_nothing_and_others_what_their_words_do() -> None:
    assert rises(4_096) == (0.0, 0.0)
    floor, reducible = rises(8_192)
    assert 0 < reducible < floor < 0.1
    assert rises(32_768)[0] == pytest.approx(3 * floor) and rises(32_768)[1] > 3 * reducible
    assert rises(151_936) == rises(32_768)
    plain, added = Prior.measured(6.5), Prior.measured(6.5, rises=(0.1, 0.05))
    difference = np.array(added.mean) - np.array(plain.mean)
    assert difference == pytest.approx([0.1, 0.05, 0.05, 0, 0, 0, 0, 0])
    assert math.isclose(Prior.measured(6.5, rises=rises(4_096)).mean[0], plain.mean[0])


def test_a_model_gains_less_on_counting_the_more_words_there_are() -> None:
    drops = [Ratio.of_trigrams((2.5e5, 4e6), (5.0, 4.0), vocab_size=size).log_ratio for size in (2_048, 4_096, 8_192)]
    assert drops[1] == Ratio.of_trigrams((2.5e5, 4e6), (5.0, 4.0)).log_ratio == pytest.approx(1.42 * math.log(0.8))
    assert drops[0] / drops[1] == pytest.approx(2**0.12) == drops[1] / drops[2]
