"""Published tables, typed from the papers; benchmarks/estimate.py prints them all."""

from __future__ import annotations

import dataclasses

import pytest

from isoflop.estimate.memory import activation_bytes, memory_of
from isoflop.estimate.parallel import Division, Training
from isoflop.model.count import count_parameters
from toy import gpt

GIB = 2**30


@pytest.mark.parametrize(
    ("hidden", "layers", "billions"),
    [
        (2304, 24, "1.7"),
        (4096, 36, "7.5"),
        (8192, 48, "39.1"),
        (12288, 80, "145.6"),
        (20480, 105, "529.6"),
        (25600, 128, "1008.0"),
    ],
)
def test_megatrons_parameters_to_the_printed_digit(hidden: int, layers: int, billions: str) -> None:
    """Narayanan et al. 2021, arXiv 2104.04473, table 1."""
    assert f"{count_parameters(gpt(hidden, layers, hidden // 128)).all / 1e9:.1f}" == billions


@pytest.mark.parametrize(
    ("hidden", "layers", "heads", "pipeline", "chunks", "batch", "micro", "whole", "least"),
    [
        (6144, 48, 64, 1, 1, 4, 4, 59.25, 9.5625),
        (12288, 96, 96, 8, 3, 64, 1, 66.84375, 12.3515625),
        (20480, 105, 128, 35, 3, 280, 1, 114.0234375, 23.076171875),
        (25600, 128, 160, 64, 1, 512, 1, 131.25, 26.5625),
    ],
)
def test_korthikantis_activations_to_four_digits(
    hidden: int, layers: int, heads: int, pipeline: int, chunks: int, batch: int, micro: int, whole: float, least: float
) -> None:
    """arXiv 2205.05198, tables 3 and 5: eight tensor-parallel devices, nothing recomputed; and sequences divided,
    attention recomputed."""
    plain = Division(tensor=8, pipeline=pipeline, chunks=chunks, micro_batch=micro, sequence_parallel=False)
    clever = dataclasses.replace(plain, sequence_parallel=True, recompute="selective")
    shape = gpt(hidden, layers, heads)
    training = Training(shape, batch, 2048, flash=False)
    found = [activation_bytes(training, each) / GIB for each in (plain, clever)]
    assert found == pytest.approx([whole, least], rel=5e-5)


def test_sharing_divides_what_it_says() -> None:
    shape = gpt(4096, 36, 32)
    kinds = ("none", "optimizer", "full")
    found = {
        kind: memory_of(Training(shape, 8, 2048), Division(data=8, sharding=kind))  # type: ignore[arg-type]
        for kind in kinds
    }
    size = count_parameters(shape).all
    assert found["none"].optimizer == 12 * size and found["optimizer"].optimizer == pytest.approx(1.5 * size)
    assert found["optimizer"].weights == 2 * size and found["full"].gradients == pytest.approx(0.5 * size)
    assert found["full"].total < found["optimizer"].total < found["none"].total
    assert len({memory.activations for memory in found.values()}) == 1


def test_recomputing_keeps_less() -> None:
    shape = gpt(4096, 36, 32)
    kept = [
        activation_bytes(Training(shape, 1, 2048, flash=False), Division(recompute=kind))  # type: ignore[arg-type]
        for kind in ("full", "selective", "none")
    ]
    assert kept == sorted(kept) and kept[0] < 0.15 * kept[2]


def test_flash_attention_keeps_what_selective_recomputation_does() -> None:
    shape = gpt(4096, 36, 32)
    flash = activation_bytes(Training(shape, 1, 2048), Division())
    assert flash == activation_bytes(Training(shape, 1, 2048, flash=False), Division(recompute="selective"))
