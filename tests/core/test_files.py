import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.errors import CorruptFileError, DiskError
from isoflop.core.files import (
    disk_errors,
    existing_parent,
    file_sha256,
    read_array,
    read_json,
    verify,
    write_array,
    write_arrays,
    write_bytes,
    write_checked_json,
    write_json,
    write_text,
)
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.records import Spent, StageStarted


@contextmanager
def tiny_disk(folder: Path, options: str) -> Iterator[Path]:
    """A real file system of its own at ``folder``; the test is skipped where we may not mount one."""
    folder.mkdir()
    command = shutil.which("mount")
    if os.geteuid() != 0 or command is None:
        pytest.skip("needs root to mount a file system")
    if subprocess.run([command, "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_writes_and_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    write_text(path, "first")
    write_text(path, "second")
    assert path.read_text() == "second"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_json_round_trip_is_stable(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_json(path, {"b": [1, 2.5, None], "a": "ü"})
    first = path.read_bytes()
    write_json(path, read_json(path))
    assert path.read_bytes() == first
    assert read_json(path) == {"b": [1, 2.5, None], "a": "ü"}


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert read_json(path) == 1


@given(st.data())
def test_a_changed_product_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("products") / "plan.json"
    product = {"tokens": 12_345, "forecast": {"central": 1.7, "low": None}, "ü": ["a", True]}
    write_checked_json(path, product)
    assert read_json(path) == product
    stored = bytearray(path.read_bytes())
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    path.write_bytes(stored)
    try:
        found = read_json(path)
    except CorruptFileError as error:
        assert "plan.json" in str(error)
    else:  # only the layout changed, or the checksum's own name, which is no field of any product
        assert found == product or set(found) - set(product)


@pytest.mark.parametrize("data", [b"", b'{"a": ', b"\xff\xfe\x00", b"{} {}"])
def test_broken_json_is_a_corrupt_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "law.json"
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"law\.json: not valid JSON"):
        read_json(path)


@given(st.binary(max_size=200), st.data())
def test_any_flipped_byte_of_an_array_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "train-000.npy"
    array = np.frombuffer(content, dtype=np.uint8)
    sha256 = write_array(path, array)
    np.testing.assert_array_equal(read_array(path, sha256), array)
    stored = bytearray(path.read_bytes())
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(stored)
    with pytest.raises(CorruptFileError, match="checksum differs"):
        read_array(path, sha256)


def test_arrays_are_memory_mapped(tmp_path: Path) -> None:
    path = tmp_path / "val.npy"
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    loaded = read_array(path, write_array(path, array))
    assert isinstance(loaded, np.memmap)
    assert loaded.dtype == np.uint16
    assert loaded.tolist() == array.tolist()


def test_checksum_is_sha256_also_of_large_files(tmp_path: Path) -> None:
    path = tmp_path / "big"
    data = bytes(range(256)) * 10_000  # more than two of the chunks it is read in
    path.write_bytes(data)
    assert file_sha256(path) == hashlib.sha256(data).hexdigest()
    verify(path, hashlib.sha256(data).hexdigest())


def test_a_truncated_or_missing_array_is_found(tmp_path: Path) -> None:
    path = tmp_path / "test.npy"
    sha256 = write_array(path, np.arange(100))
    os.truncate(path, 64)
    with pytest.raises(CorruptFileError, match="checksum differs"):
        read_array(path, sha256)
    path.unlink()
    with pytest.raises(CorruptFileError, match="missing"):
        read_array(path, sha256)


def test_existing_parent(tmp_path: Path) -> None:
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert existing_parent(tmp_path) == tmp_path


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=1m") as disk:
        write_text(disk / "plan.json", "old")
        with pytest.raises(DiskError, match=r"plan\.json: the disk is full .*Free some space, then resume"):
            write_bytes(disk / "plan.json", bytes(2 << 20))
        assert (disk / "plan.json").read_text() == "old"
        assert [entry.name for entry in disk.iterdir()] == ["plan.json"]


def test_a_full_disk_under_the_records_says_so_and_the_log_goes_on(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=256k") as disk:
        log = RecordLog(disk / "records.jsonl")
        log.write(StageStarted("corpus"))
        (disk / "ballast").write_bytes(bytes(128 << 10))
        with pytest.raises(DiskError, match="the disk is full"):
            for number in range(100_000):
                log.write(Spent("run", "productive", float(number)))
        (disk / "ballast").unlink()
        log.write(StageStarted("law"))
        log.close()
        *_, last_spent, last = [stamped.record for stamped in read_records(disk / "records.jsonl")]
        assert isinstance(last_spent, Spent)
        assert last == StageStarted("law")


def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=1m,ro") as disk:
        with pytest.raises(DiskError, match=r"no permission to write here.*Choose another --out"):
            write_text(disk / "study" / "plan.json", "{}")
        with pytest.raises(DiskError, match="no permission to write here"):
            RecordLog(disk / "records.jsonl")


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("a file")
    with pytest.raises(DiskError, match="a file stands where a folder is needed"):
        write_text(tmp_path / "study" / "plan.json", "{}")


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="I/O"), disk_errors(tmp_path):
        raise OSError(errno.EIO, "I/O error")


WRITER = """
import sys
from pathlib import Path
from isoflop.core.files import write_bytes
for number in range(10**9):
    write_bytes(Path(sys.argv[1]), bytes([number % 251]) * 300_000)
    if number == 3:
        print("going", flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011, 0.017, 0.029])
def test_kill_nine_leaves_one_whole_file(tmp_path: Path, delay: float) -> None:
    path = tmp_path / "weights"
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(delay)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    data = path.read_bytes()
    assert len(data) == 300_000
    assert len(set(data)) == 1


@pytest.mark.parametrize("dtype", ["uint16", "int64", "float32"])
def test_an_array_in_parts_is_the_file_that_numpy_saves(tmp_path: Path, dtype: str) -> None:
    whole = np.arange(10).astype(dtype)
    parts = (part for part in np.split(whole, [3, 3, 8]))
    sha256 = write_arrays(tmp_path / "parts.npy", parts, dtype=whole.dtype, shape=(10,))
    np.save(tmp_path / "numpy.npy", whole)
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    assert file_sha256(tmp_path / "parts.npy") == sha256
    table = np.arange(6).reshape(2, 3).T
    assert write_array(tmp_path / "table.npy", table) == file_sha256(tmp_path / "table.npy")
    assert (np.load(tmp_path / "table.npy") == table).all()
