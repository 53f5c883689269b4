"""A tiny prepared corpus, once for all tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.text.prepare import prepare
from toy import write_texts


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    prepare([write_texts(folder / "texts", num_files=40, sentences=30)], folder / "corpus")
    return folder / "corpus"
