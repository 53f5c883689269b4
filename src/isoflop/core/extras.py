"""Packages that only some work needs: imported where it begins, and named with their extra where they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from isoflop.core.errors import IsoflopError


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turns a failed import inside into an `IsoflopError` that says which extra has the package."""
    try:
        yield
    except ImportError as error:
        package = error.name or str(error)
        raise IsoflopError(f"{package} is not installed", remedy=f"Run pip install 'isoflop[{extra}]'") from error
