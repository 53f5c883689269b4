"""How much of its time isoflop needs to be as good as a peer was at the end of its own.

    python benchmarks/peer_compare.py --study demo-study --peer peer.json

Two answers, both with isoflop's whole time in the numerator: preparing, measuring, pilots and planning included.

- ``val``: the first time at which an evaluation of the study's target run was at or below the peer's final bits per
  byte on the same validation bytes. Before the decay of its learning rate a run looks worse than it would if it ended
  there, so this is an upper bound on the time a smaller budget would have needed.
- ``test``: whether the finished model is at or below the peer on the test documents, and the study's whole time. Run it
  on a study of half the peer's budget and this is the claim itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from isoflop.core import codec
from isoflop.core.errors import StudyError
from isoflop.core.files import read_json
from isoflop.core.journal import Stamped, read_records
from isoflop.core.products import CorpusManifest
from isoflop.core.records import Evaluation, RunStarted, Scored, SessionStarted


def worked_seconds(records: Iterable[Stamped]) -> Iterator[tuple[float, Stamped]]:
    """Pairs each record with the seconds worked on the study until then; pauses between sessions do not count."""
    seconds, previous = 0.0, None
    for stamped in records:
        if previous is not None and not isinstance(stamped.record, SessionStarted):
            seconds += max(0.0, stamped.time - previous)
        previous = stamped.time
        yield seconds, stamped


def same_bytes(first: int, second: int) -> bool:
    """Whether two scores are on the same text; parts of documents may be rounded differently to whole bytes."""
    return abs(first - second) <= 1


def seconds_to_reach(timeline: list[tuple[float, Stamped]], bits_per_byte: float, num_bytes: int) -> float | None:
    """First worked seconds at which the target run scored ``bits_per_byte`` or less on ``num_bytes`` of validation."""
    started = [stamped.record for _, stamped in timeline if isinstance(stamped.record, RunStarted)]
    targets = {record.run for record in started if record.role == "target"}
    for seconds, stamped in timeline:
        record = stamped.record
        if not isinstance(record, Evaluation) or record.run not in targets or record.split != "val":
            continue
        if same_bytes(record.num_bytes, num_bytes) and record.bits_per_byte <= bits_per_byte:
            return seconds
    return None


def final_score(timeline: list[tuple[float, Stamped]]) -> tuple[float, Scored] | None:
    """The last test score, with the seconds worked until it was written."""
    scored = [(seconds, stamped.record) for seconds, stamped in timeline if isinstance(stamped.record, Scored)]
    return scored[-1] if scored else None


def compare(study: Path, peer: dict[str, Any]) -> dict[str, Any]:
    """Sets a study beside a result of `peer.py`; raises `StudyError` where corpus or tokenizer differ."""
    manifest: CorpusManifest = codec.decode(CorpusManifest, read_json(study / "corpus" / "manifest.json"))
    if (manifest.fingerprint, manifest.tokenizer_sha256) != (peer["corpus_fingerprint"], peer["tokenizer_sha256"]):
        raise StudyError(
            "the peer was trained on another corpus or tokenizer",
            where=str(study),
            remedy="Run benchmarks/peer.py on a study of this corpus",
        )
    timeline = list(worked_seconds(read_records(study / "records.jsonl")))
    return {
        "peer": peer["peer"],
        "peer_learning_rate": peer["learning_rate"],
        "peer_seconds": peer["seconds"],
        "val": _compare_val(timeline, peer),
        "test": _compare_test(timeline, peer),
    }


def _compare_val(timeline: list[tuple[float, Stamped]], peer: dict[str, Any]) -> dict[str, Any]:
    """Over the peer's validation scores (whole split and curve subset), the one on the bytes that isoflop also used."""
    used = {stamped.record.num_bytes for _, stamped in timeline if isinstance(stamped.record, Evaluation)}
    for name in ("val", "val_curve_subset"):
        score = peer[name]
        if any(same_bytes(score["num_bytes"], num_bytes) for num_bytes in used):
            seconds = seconds_to_reach(timeline, score["bits_per_byte"], score["num_bytes"])
            ratio = None if seconds is None else seconds / peer["seconds"]
            return {"peer_bits_per_byte": score["bits_per_byte"], "isoflop_seconds": seconds, "ratio": ratio}
    return {
        "not_comparable": f"isoflop evaluated on {sorted(used)} bytes, the peer on others: run peer.py on this study"
    }


def _compare_test(timeline: list[tuple[float, Stamped]], peer: dict[str, Any]) -> dict[str, Any]:
    final = final_score(timeline)
    if final is None:
        return {"not_comparable": "the study has no test score yet"}
    seconds, scored = final
    return {
        "peer_bits_per_byte": peer["test"]["bits_per_byte"],
        "isoflop_bits_per_byte": scored.bits_per_byte,
        "isoflop_reached": scored.bits_per_byte <= peer["test"]["bits_per_byte"],
        "isoflop_seconds": seconds,
        "ratio": seconds / peer["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="a finished isoflop study of the same corpus")
    parser.add_argument("--peer", type=Path, required=True, help="the JSON that benchmarks/peer.py wrote")
    given = parser.parse_args()
    print(json.dumps(compare(given.study, read_json(given.peer)), indent=2))


if __name__ == "__main__":
    main()
