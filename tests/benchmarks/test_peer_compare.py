"""Time to reach the peer, from records written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isoflop.core import codec
from isoflop.core.errors import StudyError
from isoflop.core.records import Evaluation, Record, RunStarted, Scored, SessionStarted
from peer_compare import compare

PEER: dict[str, Any] = {
    "peer": "a peer",
    "corpus_fingerprint": "corpus-1",
    "tokenizer_sha256": "tokenizer-1",
    "learning_rate": 5e-5,
    "seconds": 600.0,
    "val": {"bits_per_byte": 2.0, "num_bytes": 1000},
    "val_curve_subset": {"bits_per_byte": 2.2, "num_bytes": 100},
    "test": {"bits_per_byte": 2.1, "num_bytes": 900},
}
SESSION = SessionStarted("isoflop run", "0.1.0", 1)


def run_started(run: str, role: str) -> RunStarted:
    return RunStarted(run, role, 2, 64, 3, 1, 2, 1024, 100, 0.02, 0, 2, "float32", False, 0)


def evaluated(run: str, bits_per_byte: float, num_bytes: int = 1000) -> Evaluation:
    return Evaluation(run, "val", 10, 10_240, 3.0, bits_per_byte, num_bytes, 1.0)


def scored(bits_per_byte: float) -> Scored:
    return Scored(bits_per_byte, bits_per_byte - 0.1, bits_per_byte + 0.1, 3.0, 3, 900, 2.5, 4.0)


def write(study: Path, *lines: tuple[float, Record]) -> None:
    rows = [{"kind": record.kind, "time": 1000.0 + time} | codec.encode(record) for time, record in lines]
    (study / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_first_target_evaluation_at_or_below_the_peer_counts(study: Path) -> None:
    write(
        study,
        (0, SESSION),
        (5, run_started("p1", "pilot")),
        (20, evaluated("p1", 1.5)),  # a pilot is not what a person gets
        (60, run_started("run", "target")),
        (90, evaluated("run", 1.9, num_bytes=50)),  # other bytes
        (120, evaluated("run", 2.5)),
        (150, evaluated("run", 2.0)),
        (180, evaluated("run", 1.8)),
        (200, scored(1.85)),
    )
    result = compare(study, PEER)
    assert result["val"] == {"peer_bits_per_byte": 2.0, "isoflop_seconds": 150.0, "ratio": 0.25}
    assert result["test"]["isoflop_reached"] is True
    assert result["test"]["ratio"] == pytest.approx(200 / 600)


def test_pauses_between_sessions_are_not_worked(study: Path) -> None:
    write(
        study,
        (0, SESSION),
        (100, run_started("run", "target")),
        (5000, SESSION),
        (5050, evaluated("run", 1.0)),
    )
    assert compare(study, PEER)["val"]["isoflop_seconds"] == 150.0


def test_curve_subset_is_used_where_isoflop_scored_the_same_bytes(study: Path) -> None:
    write(study, (0, SESSION), (1, run_started("run", "target")), (30, evaluated("run", 2.2, num_bytes=100)))
    assert compare(study, PEER)["val"] == {"peer_bits_per_byte": 2.2, "isoflop_seconds": 30.0, "ratio": 0.05}


def test_a_peer_never_reached_has_no_ratio(study: Path) -> None:
    write(study, (0, SESSION), (1, run_started("run", "target")), (9, evaluated("run", 3.0)), (10, scored(3.0)))
    result = compare(study, PEER)
    assert result["val"]["isoflop_seconds"] is None and result["val"]["ratio"] is None
    assert result["test"]["isoflop_reached"] is False


def test_scores_on_other_bytes_are_not_compared(study: Path) -> None:
    write(study, (0, SESSION), (1, run_started("run", "target")), (9, evaluated("run", 1.0, num_bytes=77)))
    result = compare(study, PEER)
    assert "[77] bytes" in result["val"]["not_comparable"]
    assert result["test"] == {"not_comparable": "the study has no test score yet"}


@pytest.mark.parametrize("field", ["corpus_fingerprint", "tokenizer_sha256"])
def test_another_corpus_is_refused(study: Path, field: str) -> None:
    write(study, (0, SESSION))
    with pytest.raises(StudyError, match="another corpus or tokenizer"):
        compare(study, PEER | {field: "other"})
