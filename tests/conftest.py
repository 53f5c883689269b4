"""One thread for all tests: the machine may be busy with experiments, and equal threads give equal bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny prepared corpus, once for all tests of training."""
    from isoflop.text.prepare import prepare
    from toy import write_texts

    folder = tmp_path_factory.mktemp("toy")
    prepare([write_texts(folder / "texts", num_files=40, sentences=30)], folder / "corpus")
    return folder / "corpus"


@pytest.fixture(autouse=True)
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's budget counts from its process's start; the tests' own may be older than any budget."""
    monkeypatch.setattr("isoflop.study.process_age", lambda: 2.0)
