from __future__ import annotations

import os
import signal

import pytest

from isoflop.core.errors import Interrupted
from isoflop.train.stop import stop_requests

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_becomes_a_flag_and_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with stop_requests() as request:
        assert request.name is None
        os.kill(os.getpid(), number)
        assert request.name == number.name
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_requests() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.name == "SIGINT"
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_two_blocks_do_not_share_a_flag() -> None:
    with stop_requests():
        os.kill(os.getpid(), signal.SIGTERM)
    with stop_requests() as request:
        assert request.name is None


def test_being_interrupted_has_the_shells_exit_code() -> None:
    assert Interrupted("stopped").exit_code == 130
