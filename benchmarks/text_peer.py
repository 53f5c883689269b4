"""datatrove's side of ``benchmarks/text.py``, run by a Python that has it: TASK TEXTS.parquet OUT; one JSON line.

Its English tokenizer is replaced by words between spaces, so that both sides use one word rule (its own is six times as
slow). Needs nothing of isoflop.
"""

from __future__ import annotations

import gzip
import json
import resource
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import datatrove.pipeline.filters.gopher_quality_filter as gopher_quality
import datatrove.pipeline.filters.gopher_repetition_filter as gopher_repetition
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import minhash
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils import word_tokenizers


class Spaces:
    """Words between spaces."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


for module in (minhash, word_tokenizers):  # where it is asked for
    module.load_word_tokenizer = lambda language: Spaces()


def main() -> None:
    task, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) / "peer"
    shutil.rmtree(out, ignore_errors=True)
    started = cpu_seconds()
    found = TASKS[task](source, out)
    spent = cpu_seconds() - started
    print(json.dumps({"cpu_seconds": spent} | (results(out) if task == "dedup" else found)))


def cpu_seconds() -> float:
    """Of this process and all it has waited for."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def reader(source: Path) -> ParquetReader:
    return ParquetReader(str(source.parent), glob_pattern=source.name, text_key="text", id_key="id")


def filters(source: Path, out: Path) -> dict[str, Any]:
    families = {
        "quality": gopher_quality.GopherQualityFilter(),
        "repetition": gopher_repetition.GopherRepetitionFilter(),
    }
    found: dict[str, list[str | None]] = {name: [] for name in families}
    for document in reader(source).run():
        for name, family in families.items():
            told = family.filter(document)
            found[name].append(told[1] if isinstance(told, tuple) and not told[0] else None)
    return found


def sign(source: Path, out: Path) -> dict[str, Any]:
    signer = minhash.MinhashDedupSignature(str(out / "signatures"), minhash.MinhashConfig())
    count = 0
    for document in reader(source).run():
        signer.get_signature(signer.get_shingles(document.text)) if document.text.split() else None
        count += 1
    return {"num_documents": count}


def dedup(source: Path, out: Path) -> dict[str, Any]:
    config, folders = minhash.MinhashConfig(), {name: str(out / name) for name in ("sign", "bucket", "cluster")}
    stages: list[tuple[list[Any], int]] = [
        ([reader(source), minhash.MinhashDedupSignature(folders["sign"], config)], 1),
        ([minhash.MinhashDedupBuckets(folders["sign"], folders["bucket"], config=config)], config.num_buckets),
        ([minhash.MinhashDedupCluster(folders["bucket"], folders["cluster"], config=config)], 1),
        (
            [
                reader(source),
                minhash.MinhashDedupFilter(folders["cluster"], exclusion_writer=JsonlWriter(str(out / "removed"))),
                JsonlWriter(str(out / "kept")),
            ],
            1,
        ),
    ]
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=str(out / f"logs{number}")).run()
    return {}


def encode(source: Path, out: Path) -> dict[str, Any]:
    """tokenizers alone: parquet to ids."""
    import numpy as np
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(out.parent / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    texts = pq.read_table(source, columns=["text"])["text"].to_pylist()
    ids = [np.array(one.ids, dtype="<u4") for one in tokenizer.encode_batch_fast(texts)]
    return {"ids": [zlib.crc32(one.tobytes()) for one in ids]}


def read(source: Path, out: Path) -> dict[str, Any]:
    seconds, count = {}, 0
    for path in sorted(source.iterdir()):
        kind = ParquetReader if path.suffix == ".parquet" else JsonlReader
        started = cpu_seconds()
        count += sum(1 for _ in kind(str(source), glob_pattern=path.name, text_key="text", id_key="id").run())
        seconds[path.name] = cpu_seconds() - started
    return {"formats": seconds, "num_documents": count}


def html(source: Path, out: Path) -> dict[str, Any]:
    """trafilatura with its defaults."""
    import pyarrow.parquet as pq
    from trafilatura import extract

    pages = pq.read_table(source)["html"].to_pylist()
    return {"characters": sum(len(extract(page) or "") for page in pages)}


def results(out: Path) -> dict[str, Any]:
    """The numbers of the documents that it removed, read off what it wrote."""
    import pyarrow.parquet as pq

    places = {name: i for i, name in enumerate(pq.read_table(sys.argv[2], columns=["id"])["id"].to_pylist())}
    files = sorted((out / "removed").glob("*.gz"))
    lines = [line for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    return {"dropped": [places[json.loads(line)["id"]] for line in lines]}


TASKS = {"filters": filters, "signatures": sign, "dedup": dedup, "encode": encode, "read": read, "html": html}


if __name__ == "__main__":
    main()
