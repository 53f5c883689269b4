from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import write_study


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    """A finished study."""
    return write_study(tmp_path / "study")
