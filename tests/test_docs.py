"""The example of docs/law.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_law_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "law.md").read_text(), flags=re.S)
    exec(compile(code, "law.md", "exec"), {})
    told = capsys.readouterr().out
    assert told.count("Allocation(params=") == 4
    assert re.search(r"^(chinchilla|skaling|kaplan|bounded) ", told, flags=re.M)
