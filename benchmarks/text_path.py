"""The whole path of ``isoflop prepare``, files to tokens: memory, time and processes as the text grows.

    python benchmarks/text_path.py --out /tmp/path

Prepares the mix of 47 MB once and, told apart by their letters, eight times; with one process and with two. The bars:
memory of eight times the text at most 1.2 times that of one (of all processes together, pages that they share counted
in each), CPU time a byte within 10 %, two processes 1.8 times as fast as one. Beside that, the most that two could do
here: two of the command at once, each on the whole text, which know nothing of each other. Some minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from corpora import SHARED, save, stamp

MIX = SHARED / "bench_mix_50mb" / "bench50.parquet"
_LONG_WORD = re.compile(r"[A-Za-z]{5,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    texts = [written(arguments.out / f"texts-{times}", times) for times in arguments.times]
    prepared(texts[0], arguments.out / "warm", num_processes=1)  # compiles
    rows = [
        prepared(folder, arguments.out / "corpus", num_processes=count)
        for folder in texts
        for _ in range(arguments.rounds)
        for count in (1, 2)  # turn by turn: a machine's pace changes from minute to minute
    ]
    rows += [strangers(texts[-1], arguments.out) for _ in range(arguments.rounds)]
    save(arguments.out / "text-path.json", stamp() | {"rows": rows})


def written(folder: Path, times: int) -> Path:
    """Files of the mix, each copy with other letters in the middle of its long words, so that no two are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = pq.read_table(MIX, columns=["text"])["text"].to_pylist()
    for copy in range(times):
        path = folder / f"{copy}.parquet"
        if not path.exists():
            pq.write_table(pa.table({"text": [other(text, copy) for text in texts]}), path, compression="zstd")
    return folder


def other(text: str, copy: int) -> str:
    def changed(match: re.Match[str]) -> str:
        word = match[0]
        middle = chr((ord(word[2].lower()) - 97 + copy) % 26 + 97)
        return word[:2] + middle + word[3:]

    return _LONG_WORD.sub(changed, text)


def prepared(texts: Path, out: Path, *, num_processes: int) -> dict[str, Any]:
    """One run of the command, from nothing; memory and CPU time are those of all its processes together."""
    began = time.monotonic()
    process = started(texts, out, num_processes=num_processes)
    seconds, peak = dict[int, float](), 0
    while process.poll() is None:
        sizes = []
        for member in family(process.pid):
            with suppress(psutil.Error):  # it has just ended
                seconds[member.pid] = sum(member.cpu_times()[:2])
                sizes.append(member.memory_info().rss)
        peak = max(peak, sum(sizes))
        time.sleep(0.2)  # looking takes time of theirs
    if process.returncode:
        raise RuntimeError(f"it failed with {process.returncode}")
    row = {
        "texts": texts.name,
        "processes": num_processes,
        "seconds": time.monotonic() - began,
        "cpu_seconds": sum(seconds.values()),
        "peak_megabytes": peak / 1e6,
    }
    print(row, flush=True)
    return row


def family(pid: int) -> list[psutil.Process]:
    """The process and those it started, and theirs."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def strangers(texts: Path, out: Path) -> dict[str, Any]:
    """Two of the command at once, of one process each: twice the work of one."""
    began = time.monotonic()
    both = [started(texts, out / f"stranger-{number}", num_processes=1) for number in range(2)]
    if sum(process.wait() != 0 for process in both):
        raise RuntimeError("one of two failed")
    row = {"texts": texts.name, "strangers": 2, "seconds": time.monotonic() - began}
    print(row, flush=True)
    return row


def started(texts: Path, out: Path, *, num_processes: int) -> subprocess.Popen[bytes]:
    shutil.rmtree(out, ignore_errors=True)
    command = ["isoflop", "prepare", str(texts), "--out", str(out), "--workers", str(num_processes), "--quiet"]
    threads = {f"{name}_NUM_THREADS": str(num_processes) for name in ("OMP", "RAYON", "ARROW")}
    return subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, env=os.environ | threads)


if __name__ == "__main__":
    main()
