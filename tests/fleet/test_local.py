from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from isoflop.core.errors import LostError, TextError
from isoflop.fleet.local import Local
from isoflop.text.tokenizer import require_vocab_size


def square(x: int) -> int:
    print(f"{x} is squared")
    return x * x


def test_one_process_is_this_one() -> None:
    assert list(Local(1).map(own_process, [1, 2])) == [os.getpid()] * 2
    assert list(Local(2).map(own_process, [1])) == [os.getpid()]  # one piece is not worth another process
    with pytest.raises(TextError, match="a vocabulary of 7"):
        list(Local(1).map(require_vocab_size, [7, 8]))


def test_a_job_here_is_done_when_its_result_is_asked_for(tmp_path: Path) -> None:
    first, second = Local(1, tmp_path).submit(square, [3, 4])
    assert first.state == "waiting" and first.logs() == ""
    assert first.result() == 9 and first.state == "done" and first.logs() == "3 is squared\n"
    second.cancel()
    assert second.state == "cancelled"
    with pytest.raises(LostError):
        second.result()


def own_process(x: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def test_processes_are_kept_for_the_next_stage() -> None:
    local = Local(2)
    first, second = (set(local.map(own_process, range(6))) for _ in range(2))
    assert os.getpid() not in first | second and first & second
    local.close()
    assert not [number for number in first | second if psutil.pid_exists(number)]


PROBE = """
import sys, time

def has_kernels(x):
    return "isoflop.text.kernels" in sys.modules

def wait(path):
    import os
    from pathlib import Path
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)
"""
FORESEEN = """
from isoflop.fleet.local import Local, foresee
import probe
if __name__ == "__main__":
    foresee("isoflop.text.kernels")
    print(list(Local(2).map(probe.has_kernels, [1, 2, 3])))
"""
SLOW = """
import sys, time
from isoflop.fleet.local import foresee
if __name__ == "__main__":
    foresee("slow")
    print("begun", flush=True)
    try:
        time.sleep(120)
    except KeyboardInterrupt:
        pass
"""
WAITING = """
import sys
from isoflop.fleet.local import Local
import probe
if __name__ == "__main__":
    list(Local(2).map(probe.wait, sys.argv[1:]))
"""


def started(folder: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    (folder / "probe.py").write_text(PROBE)
    (folder / "main.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, str(folder / "main.py"), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_processes_have_what_was_foreseen(tmp_path: Path) -> None:
    assert started(tmp_path, FORESEEN).communicate(timeout=120)[0].strip() == "[True, True, True]"


def test_an_interrupt_while_modules_are_imported_is_told_by_one_process_alone(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(f"import time; open({str(tmp_path / 'at')!r}, 'w').write('1'); time.sleep(2)")
    parent = started(tmp_path, SLOW)
    assert awaited(tmp_path / "at") == 1
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
    assert parent.communicate(timeout=60) == ("begun\n", "")
    assert parent.returncode == 0


def test_processes_end_with_the_one_that_is_killed(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    parent = started(tmp_path, WAITING, *map(str, files))
    pids = [awaited(file) for file in files]
    assert all(map(psutil.pid_exists, pids))
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not any(map(psutil.pid_exists, pids)):
            break
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, pids))


def awaited(file: Path) -> int:
    """The number that comes to stand in a file."""
    for _ in range(600):
        if file.exists() and file.read_text():
            return int(file.read_text())
        time.sleep(0.05)
    raise TimeoutError(file)
