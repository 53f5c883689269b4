"""One process alone among several: what it leaves behind when the group ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from isoflop.train.ranks import STORE, Ranks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")


def gloo_threads() -> int:
    names = (path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
    return sum("gloo" in name for name in names)


def test_end_leaves_no_thread_of_gloo_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is alive when the interpreter ends aborts it now and then."""
    monkeypatch.setenv(STORE, str(tmp_path / "store"))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    before = gloo_threads()
    ranks = Ranks(0, 1, device=torch.device("cpu"))
    assert gloo_threads() > before
    ranks.idle = True  # as when each has its model
    ranks.end()
    assert gloo_threads() == before
