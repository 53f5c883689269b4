"""The charts' script is bundled once a machine, and anew where what was kept is not what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.report import library


@pytest.fixture
def bundled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was bundled so far."""
    calls: list[str] = []

    def bundle(snippet: str) -> str:
        calls.append(snippet)
        return "script </script"

    monkeypatch.setattr("vl_convert.javascript_bundle", bundle)
    return calls


def made() -> str:
    return library.chart_library.__wrapped__()


def test_it_is_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: list[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert made() == made() == "script <\\/script"
    assert len(bundled) == 1
    (kept,) = (tmp_path / "isoflop").iterdir()
    kept.write_text(kept.read_text().replace("script <", "another <"))
    assert made() == "script <\\/script" and len(bundled) == 2
    kept.write_text("[]")
    assert made() == "script <\\/script" and len(bundled) == 3
    assert made() == "script <\\/script" and len(bundled) == 3


def test_a_folder_that_cannot_be_written_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert made() == made() == "script <\\/script"
    assert len(bundled) == 2
