"""Files that are whole or absent: written beside their place, synced, renamed; verified when read."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from isoflop.core.errors import CorruptFileError, DiskError, IsoflopError, StudyError

_CHUNK_BYTES = 1 << 20
_CHECKSUM = "sha256_of_the_rest"
"""Key under which a JSON object carries the SHA-256 of its other keys and values."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's write errors at ``path`` into a `DiskError` that names the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(existing_parent(path)).free
            raise DiskError(
                f"the disk is full ({free / 1e6:.0f} MB free)", where=str(path), remedy="Free some space, then resume"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DiskError("no permission to write here", where=str(path), remedy="Choose another --out") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise DiskError(
                "a file stands where a folder is needed", where=str(path), remedy="Choose another --out"
            ) from error
        raise


def existing_parent(path: Path) -> Path:
    """The nearest folder at or above ``path`` that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Writes ``data`` as `write_parts` does."""
    write_parts(path, [data])


def write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Writes a file atomically: a reader sees the old file or the new one, never a part.

    Raises `DiskError` for a full disk or a folder without permission; then nothing is left behind.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Makes this process the only one that works in ``folder``, which is made; raises `StudyError` where one does."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        with suppress(OSError):  # a filesystem without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                what = "another isoflop works in this folder"
                raise StudyError(what, where=str(folder), remedy="Wait for it, or end it") from None
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Makes a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def read_text(path: Path, *, remedy: str) -> str:
    """A person's own text file; raises `IsoflopError` where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise IsoflopError(f"cannot be read ({error.strerror})", where=str(path), remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise IsoflopError("not UTF-8 text", where=f"{path}, byte {error.start}", remedy=remedy) from error


def write_json(path: Path, value: Any) -> None:
    """Writes plain JSON (dicts, lists, numbers, strings) with stable formatting; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_checked_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON object with its own checksum, which `read_json` verifies and takes out again."""
    write_json(path, value | {_CHECKSUM: _value_sha256(value)})


def read_json(path: Path) -> Any:
    """Reads a JSON file that isoflop wrote; raises `CorruptFileError` where it is not JSON or not the same any more."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptFileError(f"not valid JSON ({error})", where=str(path), remedy="Delete it, then resume") from error
    if isinstance(value, dict) and _CHECKSUM in value and value.pop(_CHECKSUM) != _value_sha256(value):
        raise CorruptFileError(
            "its content changed since it was written (checksum differs)",
            where=str(path),
            remedy="Restore it, or delete it, then resume",
        )
    return value


def _value_sha256(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_array(path: Path, array: np.ndarray) -> str:
    """Writes a ``.npy`` file atomically and returns its SHA-256."""
    whole = np.ascontiguousarray(array)
    return write_arrays(path, [whole], dtype=whole.dtype, shape=array.shape)


def write_arrays(path: Path, parts: Iterable[np.ndarray], *, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """The same of an array that comes in contiguous parts, one behind the other, and never lies in memory whole."""
    header = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    contents = (memoryview(part.data).cast("B") for part in parts if part.size)
    return write_digested(path, chain([header.getvalue()], contents))


def write_digested(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    """Writes a file as `write_parts` does and returns its SHA-256."""
    digest = hashlib.sha256()
    write_parts(path, _digested(parts, digest))
    return digest.hexdigest()


def _digested(parts: Iterable[bytes | memoryview], digest: hashlib._Hash) -> Iterator[bytes | memoryview]:
    """The parts, of which ``digest`` is told on their way."""
    for part in parts:
        digest.update(part)
        yield part


def read_array(path: Path, sha256: str) -> np.ndarray:
    """Memory-maps a ``.npy`` file after verifying its checksum; raises `CorruptFileError` on any difference."""
    verify(path, sha256)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def verify_once(path: Path, sha256: str) -> None:
    """The same as `verify` once a process, and again whenever the file was written since."""
    stat = path.stat() if path.is_file() else None
    _verify_version(path, sha256, stat and (stat.st_mtime_ns, stat.st_size))


@cache
def _verify_version(path: Path, sha256: str, version: tuple[int, int] | None) -> None:
    verify(path, sha256)  # an error is not cached


def verify(path: Path, sha256: str) -> None:
    """Raises `CorruptFileError` unless ``path`` exists and has exactly the bytes of ``sha256``."""
    if not path.is_file():
        raise CorruptFileError("the file is missing", where=str(path), remedy="Run the study again in a new folder")
    if file_sha256(path) != sha256:
        raise CorruptFileError(
            "the file's bytes changed since it was written (checksum differs)",
            where=str(path),
            remedy="Restore it, or run the study again in a new folder",
        )
