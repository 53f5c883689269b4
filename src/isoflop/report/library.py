"""The script that draws a page's charts: bundled once a machine, for bundling takes more than a second."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import vl_convert

from isoflop.core.errors import IsoflopError
from isoflop.core.files import read_json, write_checked_json

_EXPORT = "window.vegaEmbed = vegaEmbed;"


@cache
def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script without imports, about 0.9 MB, that may stand within ``<script>``.

    It is kept in the person's cache folder, if that can be written, under a name that says what it was made of.
    """
    kind = hashlib.sha256(f"{version('vl-convert-python')} {_EXPORT}".encode()).hexdigest()[:16]
    path = cache_folder() / f"charts-{kind}.json"
    with suppress(IsoflopError, OSError, TypeError, KeyError):
        return str(read_json(path)["script"])
    script = vl_convert.javascript_bundle(_EXPORT).replace("</script", "<\\/script")
    with suppress(IsoflopError, OSError):
        write_checked_json(path, {"script": script})
    return script


def cache_folder() -> Path:
    """Where a person's programs keep what they can make again (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "isoflop"
