from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from isoflop.core.errors import TextError
from isoflop.text.collect.documents import documents
from isoflop.text.collect.formats import Raw
from isoflop.text.collect.sources import absolute, find


def test_hidden_files_and_study_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("a.txt", ".hidden.txt", ".git/b.txt", "study/records.jsonl", "study/study.toml", "z/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [Path(file.path).relative_to(tmp_path).as_posix() for file in find([tmp_path])] == ["a.txt", "z/c.txt"]
    with pytest.raises(TextError, match="study folder"):
        find([tmp_path / "study"])


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert [file.path for file in find([tmp_path, tmp_path / "a.txt"])] == [str(tmp_path / "a.txt")]


def test_patterns_find_files_at_any_depth(tmp_path: Path) -> None:
    for name in ("a.md", "b.txt", "in/c.md", "in/deep/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    names = [Path(file.path).name for file in find([f"{tmp_path}/**/*.md"])]
    assert names == ["a.md", "c.md", "d.md"]
    with pytest.raises(TextError, match="no such file or folder"):
        find([f"{tmp_path}/*.nothing"])


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("x")
    assert [Path(file.path).name for file in find([tmp_path / "a[1].txt"])] == ["a[1].txt"]


def test_a_file_written_again_has_another_stamp(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (first,) = find([tmp_path])
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    (second,) = find([tmp_path])
    assert first.size == second.size == 1 and first.stamp != second.stamp


def test_urls_are_read_by_fsspec() -> None:
    store = fsspec.filesystem("memory")
    store.pipe({"/texts/a.txt": b"one", "/texts/in/b.txt": b"two", "/texts/c.bin": b"\0"})
    files = find(["memory://texts"])
    assert [file.size for file in files] == [3, 1, 3]
    read = [item.data for file in files for item in documents(file) if isinstance(item, Raw)]
    assert read == [b"one", b"two"]
    assert [file.path for file in find(["memory://texts/*.txt"])] == ["memory:///texts/a.txt"]
    with pytest.raises(TextError, match="memory://nowhere: no such file or folder"):
        find(["memory://nowhere"])


def test_unknown_and_uninstalled_stores_are_told() -> None:
    with pytest.raises(TextError, match="not an address that can be read"):
        find(["gopher+9://texts/a.txt"])


def test_what_an_input_is_called_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a.txt") == str(tmp_path / "a.txt")
    assert absolute("s3://bucket/a.txt") == "s3://bucket/a.txt"
