"""Members of ``.zip`` and ``.tar`` archives as streams: nothing is unpacked to disk, so no name can lead anywhere."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from isoflop.text.collect.streams import Allowance, BlockReader, Blocks, Refused, blocks

Members = Iterator[tuple[str, Blocks] | Refused]
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, ValueError, OSError)
_TAR_ERRORS = (tarfile.TarError, EOFError, ValueError)


def zip_members(stream: IO[bytes]) -> Members:
    """Each file's name and bytes, to be read before the next; needs a stream that can seek."""
    num_in, allowance = stream.seek(0, io.SEEK_END), Allowance()
    try:
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                if refusal := _refusal(info.filename, is_encrypted=bool(info.flag_bits & 1)):
                    yield refusal
                else:
                    yield info.filename, _zip_member(archive, info, allowance, num_in)
    except _ZIP_ERRORS as error:
        raise Refused("corrupt", f"corrupt zip ({error})") from error


def tar_members(parts: Blocks) -> Members:
    """The same of a tar archive, front to back; what is no regular file (links, devices) is left out."""
    try:
        with tarfile.open(fileobj=BlockReader(parts), mode="r|") as archive:
            for info in archive:
                if not info.isfile():
                    continue
                if refusal := _refusal(info.name):
                    yield refusal
                elif (member := archive.extractfile(info)) is not None:
                    yield info.name, _tar_member(member)
    except _TAR_ERRORS as error:
        raise Refused("corrupt", f"corrupt tar ({error})") from error


def _refusal(name: str, *, is_encrypted: bool = False) -> Refused | None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
        return Refused("unsafe_name", f"a name that leads out of the archive: {name!r}")
    return Refused("encrypted", place=name) if is_encrypted else None


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, allowance: Allowance, num_in: int) -> Blocks:
    try:
        with archive.open(info) as member:
            for block in blocks(member):
                allowance.take(len(block), num_in=num_in, place="")
                yield block
    except _ZIP_ERRORS as error:
        raise Refused("corrupt", f"corrupt zip ({error})") from error


def _tar_member(member: IO[bytes]) -> Blocks:
    try:
        yield from blocks(member)
    except _TAR_ERRORS as error:
        raise Refused("corrupt", f"corrupt tar ({error})") from error
