"""What a person names as text, here or elsewhere, as a list of files: folders, patterns and URLs of fsspec."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from isoflop.core.card import CARD, load_card
from isoflop.core.errors import TextError
from isoflop.core.files import verify_once
from isoflop.text.collect.streams import Refused

STUDY_MARK = "study.toml"


@dataclass(frozen=True)
class File:
    """A file that can be read."""

    path: str
    """Where it lies: a path or a URL."""
    size: int
    """Bytes; 0 where the store does not tell."""
    stamp: str
    """Another one once the file was written again."""
    span: tuple[int, int] | None = None
    """What is read of it (`spans`): first byte of jsonl, or row of parquet, and the one behind the last."""

    @property
    def name(self) -> str:
        """The path as text that can be printed and saved: bytes of a name that are not UTF-8 become U+FFFD."""
        return display(self.path)

    def open(self) -> IO[bytes]:
        """Raises `Refused` for what is no regular file (a pipe would keep its reader waiting)."""
        if is_url(self.path):
            filesystem, path = _filesystem(self.path)
            return cast("IO[bytes]", filesystem.open(path, "rb"))
        if not Path(self.path).is_file():
            raise Refused("not_a_file", "not a regular file")
        return Path(self.path).open("rb")


def display(path: Path | str) -> str:
    """The path as text that can be printed and saved: bytes of a name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode(errors="replace")


def absolute(text: Path | str) -> str:
    """The same input whatever folder it is named from."""
    return text if isinstance(text, str) and is_url(text) else str(Path(text).absolute())


def is_prepared(text: Path | str) -> bool:
    """Whether this is the folder of a text that ``isoflop prepare`` left."""
    return (Path(text) / CARD).is_file()


def is_url(text: str) -> bool:
    """Whether fsspec is to read it: ``s3://``, ``gs://``, ``https://``, ``hf://`` ..."""
    return "://" in text


@contextmanager
def read_errors(path: Path | str | None = None) -> Iterator[None]:
    """Turns the operating system's errors into a `TextError` that names ``path``, or the one that the error names."""
    try:
        yield
    except OSError as error:
        what, where = f"cannot be read ({error.strerror or error})", display(path or error.filename or "")
        raise TextError(what, where=where, remedy="Make it readable, or leave it out") from error


@read_errors()
def find(inputs: Sequence[Path | str]) -> list[File]:
    """All files under ``inputs``, sorted, each once, without hidden ones, study folders and links to folders;
    of a prepared text its shards.

    An input is a file, a folder, a pattern (``texts/**/*.md``) or a URL of either. Raises `TextError` for one that
    does not exist, a folder without files, one that may not be read, or a study.
    """
    files: dict[str, File] = {}
    for text in (os.fspath(each) for each in inputs):
        for file in _remote(text) if is_url(text) else _local(text):
            files[file.path if is_url(file.path) else str(Path(file.path).resolve())] = file
    return [files[key] for key in sorted(files)]


def _local(text: str) -> list[File]:
    path = Path(text)
    if not path.exists():
        names = glob.glob(text, recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        matches = [Path(name) for name in sorted(names)] if glob.has_magic(text) else []
        if not matches:
            raise TextError("no such file or folder", where=display(text), remedy="Check the path")
        return [_file(match) for match in matches if match.is_file()]
    found = _walk(path) if path.is_dir() else [path]
    if not found:
        raise TextError("the folder has no files", where=display(path), remedy="Put text files there")
    return [_file(file) for file in found]


def _file(path: Path) -> File:
    state = path.stat()
    return File(str(path), state.st_size if path.is_file() else 0, f"{state.st_mtime_ns}")


def _walk(root: Path) -> list[Path]:
    if (root / STUDY_MARK).exists():
        raise TextError("this is a study folder, not text", where=display(root), remedy="Give the folder of your texts")
    if is_prepared(root):
        return _prepared(root)
    files = []
    for folder, subfolders, names in os.walk(root, onerror=_raise):
        here = Path(folder)
        subfolders[:] = [n for n in subfolders if not n.startswith(".") and not (here / n / STUDY_MARK).exists()]
        files += [here / name for name in names if not name.startswith(".")]
    return files


def _prepared(root: Path) -> list[Path]:
    """The shards of a text that ``isoflop prepare`` left. Raises `CorruptFileError` where one is not as it was."""
    shards = load_card(root).shards
    for shard in shards:
        verify_once(root / shard.file, shard.sha256)
    return [root / shard.file for shard in shards]


def _raise(error: OSError) -> None:
    raise error  # os.walk would leave the folder out without a word


def _remote(url: str) -> list[File]:
    filesystem, path = _filesystem(url)
    try:
        paths = filesystem.glob(path) if glob.has_magic(path) else [path]
        details = [info for match in paths for info in filesystem.find(match, detail=True).values()]
    except (OSError, ValueError) as error:
        raise TextError(f"cannot be read ({error})", where=url, remedy="Check the address and the access") from error
    if not details:
        raise TextError("no such file or folder", where=url, remedy="Check the address")
    return [_described(filesystem, info) for info in details if info["type"] == "file"]


def _described(filesystem: Any, info: dict[str, Any]) -> File:
    stamp = next((str(info[key]) for key in ("ETag", "etag", "mtime", "created", "LastModified") if key in info), "")
    return File(filesystem.unstrip_protocol(info["name"]), int(info.get("size") or 0), stamp)


def _filesystem(url: str) -> tuple[Any, str]:
    """What reads the URL, and the path in it."""
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise TextError(f"its kind of store needs a package ({error})", where=url, remedy="Install it") from error
    except ValueError as error:
        raise TextError(f"not an address that can be read ({error})", where=url, remedy="Check it") from error
    return filesystem, path
