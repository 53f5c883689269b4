"""Checkpoints against what disks and kills do to them: nothing wrong is ever loaded, the last good one serves."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, load_file

from isoflop.core import files
from isoflop.core.errors import CorruptFileError, DiskError
from isoflop.train.checkpoint import Place, Snapshot, Store, Written, safetensors
from isoflop.train.schedule import Anchor
from toy import DAMAGES


def snapshot(step: int, *, size: int = 400) -> Snapshot:
    """A state that tells its step in every tensor."""
    tensors = {
        "master": torch.full((size,), float(step)),
        "step": torch.tensor(step, dtype=torch.int64),
        "rng": torch.full((17,), step % 251, dtype=torch.uint8),
    }
    place = Place(step, Anchor(0, 0.0, 100), first_window=3, skipped=[5], seconds=1.5, losses=[3.0], validated=0.25)
    return Snapshot(place, tensors)


def saved(folder: Path, *steps: int) -> Store:
    store = Store(folder)
    for step in steps:
        store.save(snapshot(step))
    return store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved(tmp_path, 7)
    loaded = Store(tmp_path).latest()
    assert loaded is not None and loaded.place == snapshot(7).place
    assert loaded.source == str(tmp_path / "checkpoint-000001.safetensors")
    for name, tensor in snapshot(7).tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype and torch.equal(loaded.tensors[name], tensor)


dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8])
shapes = st.lists(st.integers(0, 5), max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.tuples(dtypes, shapes), max_size=4))
def test_the_files_are_safetensors(kinds: dict[str, tuple[torch.dtype, list[int]]]) -> None:
    kinds.pop("__metadata__", None)
    tensors = {name: (100 * torch.rand(shape)).to(dtype) for name, (dtype, shape) in kinds.items()}
    back = load(b"".join(bytes(part) for part in safetensors(tensors)))
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_the_newest_two_stay(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3)
    assert names(tmp_path) == [f"checkpoint-00000{i}.{kind}" for i in (2, 3) for kind in ("json", "safetensors")]


def test_a_later_save_of_an_earlier_step_is_the_newest(tmp_path: Path) -> None:
    saved(tmp_path, 9, 4)
    latest = Store(tmp_path).latest()
    assert latest is not None and latest.num_done == 4


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert store.is_empty and store.latest() is None


def test_what_killed_saves_left_behind_goes(tmp_path: Path) -> None:
    for name in (
        ".checkpoint-000002.safetensors.k3j2",
        ".checkpoint-000001.json.x1y2",
        "checkpoint-000009.safetensors",
    ):
        (tmp_path / name).write_bytes(b"torn")
    saved(tmp_path, 1)
    assert names(tmp_path) == ["checkpoint-000001.json", "checkpoint-000001.safetensors"]


@pytest.mark.parametrize("kind", ["json", "safetensors"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_thousand_mutations_are_refused_by_name_and_the_one_before_serves(
    tmp_path: Path, kind: str, damage: Any
) -> None:
    saved(tmp_path, 1, 2)
    path = tmp_path / f"checkpoint-000002.{kind}"
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(340):
        changed = damage(whole, generator)
        path.write_bytes(changed)
        store = Store(tmp_path)
        latest = store.latest()
        assert latest is not None
        if latest.num_done == 2:  # only what says the same: space or a bit in the JSON's white space
            assert (kind == "json" and changed.split() == whole.split()) or changed == whole
            continue
        assert latest.num_done == 1 and [path.stem in str(error) for error in store.refused] == [True]


def test_swapped_stale_and_missing_files_are_refused(tmp_path: Path) -> None:
    def copy_of(number: int, to: int, kinds: tuple[str, ...]) -> None:
        for kind in kinds:
            shutil.copy(tmp_path / f"checkpoint-00000{number}.{kind}", tmp_path / f"checkpoint-00000{to}.{kind}")

    for kinds in (("safetensors",), ("json",), ("json", "safetensors")):  # an older one under the newest one's name
        shutil.rmtree(tmp_path)
        saved(tmp_path, 1, 2)
        copy_of(1, 2, kinds)
        store = Store(tmp_path)
        latest = store.latest()
        assert latest is not None and latest.num_done == 1 and len(store.refused) == 1, kinds
    (tmp_path / "checkpoint-000001.safetensors").unlink()
    with pytest.raises(
        CorruptFileError, match=r"no checkpoint is whole: .*000002.json.*; .*000001.safetensors.*missing"
    ):
        Store(tmp_path).latest()


def test_of_those_that_come_too_late_the_newest_before_is_taken_and_they_go(tmp_path: Path) -> None:
    store = saved(tmp_path, 4, 9)
    latest = store.latest(at_most=8)
    assert latest is not None and latest.num_done == 4
    latest = Store(tmp_path).latest()
    assert latest is not None and latest.num_done == 4
    latest = store.latest(at_most=3)  # where all are too late, the oldest
    assert latest is not None and latest.num_done == 4


def test_too_late_ones_stay_where_the_one_before_is_bad(tmp_path: Path) -> None:
    store = saved(tmp_path, 4, 9)
    (tmp_path / "checkpoint-000001.safetensors").write_bytes(b"")
    latest = store.latest(at_most=8)
    assert latest is not None and latest.num_done == 9 and len(store.refused) == 1
    assert Store(tmp_path).latest() is not None


def test_a_disk_that_cannot_read_is_as_good_as_a_changed_file(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    (tmp_path / "checkpoint-000002.json").unlink()
    (tmp_path / "checkpoint-000002.json").mkdir()  # reading it is an error of the system
    store = Store(tmp_path)
    latest = store.latest()
    assert latest is not None and latest.num_done == 1 and "000002.json" in str(store.refused[0])


def test_after_a_refusal_good_ones_are_kept_and_the_bad_one_goes(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    (tmp_path / "checkpoint-000002.safetensors").write_bytes(b"")
    store = Store(tmp_path)
    assert store.latest() is not None
    store.save(snapshot(3))
    assert [name for name in names(tmp_path) if name.endswith("json")] == [
        "checkpoint-000001.json",
        "checkpoint-000003.json",
    ]


def test_training_goes_on_while_the_disk_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, told, sync = threading.Event(), list[Written](), os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda handle: (go.wait(10), sync(handle)))
    store = Store(tmp_path)
    store.begin(snapshot(1), then=told.append)
    assert store.is_empty and not told  # and yet we are here
    go.set()
    store.wait()
    assert not store.is_empty and [(one.num_done, one.num_bytes) for one in told] == [(1, 1600 + 8 + 17)]


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_is_told_at_the_next_call_and_the_last_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = saved(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full_disk)
        store.begin(snapshot(2))
        with pytest.raises(DiskError, match="the disk is full"):
            store.wait()
    latest = Store(tmp_path).latest()
    assert latest is not None and latest.num_done == 1
    assert names(tmp_path) == ["checkpoint-000001.json", "checkpoint-000001.safetensors"]


class SmallDisk:
    """A file on a disk that takes so many bytes more, over all its files."""

    left = 0

    def __init__(self, handle: int, mode: str) -> None:
        self.file = real_fdopen(handle, mode, buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        fits = min(len(data), SmallDisk.left)
        self.file.write(data[:fits])
        SmallDisk.left -= fits
        if fits < len(data):
            full_disk()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


real_fdopen = os.fdopen


def test_a_disk_that_ends_at_any_of_a_hundred_bytes_leaves_the_last_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = saved(tmp_path, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    total = sum(map(len, before.values()))
    monkeypatch.setattr(files.os, "fdopen", SmallDisk)
    for room in np.linspace(0, total - 1, 100).astype(int).tolist():
        SmallDisk.left = room
        with pytest.raises(DiskError, match="the disk is full"):
            store.save(snapshot(2))
        orphan = "checkpoint-000002.safetensors"  # written whole, without its manifest: no checkpoint yet
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != orphan} == before
        latest = Store(tmp_path).latest()
        assert latest is not None and latest.num_done == 1
    SmallDisk.left = 10 * total
    store.save(snapshot(2))
    latest = Store(tmp_path).latest()
    assert latest is not None and latest.num_done == 2


def test_room_is_looked_for_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskError, match=r"no room for a checkpoint of 0.0 MB .* Free some space, then resume"):
        Store(tmp_path).save(snapshot(1))
    assert not names(tmp_path)


KILLED = """
    import os, signal, sys
    sys.path[:0] = [{tests!r}]
    from pathlib import Path
    from train.test_checkpoint import saved
    from isoflop.core import files

    def killed_at(folder, count):
        calls = 0

        def counted(name, owner):
            real = getattr(owner, name)
            def call(*arguments, **options):
                nonlocal calls
                if calls == count:
                    os.kill(os.getpid(), signal.SIGKILL)
                calls += 1
                return real(*arguments, **options)
            setattr(owner, name, call)

        saved(folder, 1, 2)
        for name, owner in (("mkstemp", files.tempfile), ("fsync", os), ("replace", Path), ("unlink", Path)):
            counted(name, owner)
        saved(folder, 3)

    for count in range({num}):
        child = os.fork()
        if not child:
            killed_at(Path(sys.argv[1]) / str(count), count)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def killed_at_each(folder: Path, num: int) -> list[int]:
    """Saves a third checkpoint ``num`` times, each in a process killed before its next call that touches the disk.

    Their exit codes; one interpreter forks them all, which takes seconds where as many starts would take a minute.
    """
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parents[1]), num=num)
    command = [sys.executable, "-P", "-c", code, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return [int(line) for line in run.stdout.split()]


def test_killed_in_every_phase_of_saving_the_last_or_the_new_one_is_whole(tmp_path: Path) -> None:
    num_calls = 10  # make, sync, rename, sync the folder; twice; and two files removed
    assert killed_at_each(tmp_path, num_calls + 1) == [-signal.SIGKILL] * num_calls + [0]
    for count in range(num_calls):
        folder = tmp_path / str(count)
        store = Store(folder)
        latest = store.latest()
        assert latest is not None and not store.refused
        assert latest.num_done == (3 if count >= 7 else 2)  # from the manifest's rename on
        store.save(snapshot(4))
        assert [name for name in names(folder) if "json" in name] == [
            f"checkpoint-00000{serial}.json" for serial in ((3, 4) if count >= 7 else (2, 3))
        ]
        assert load_file(folder / names(folder)[-1])["step"] == 4
