"""The first signal asks, a later second one insists."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import pytest

from utils import signals as interrupt
from utils.signals import StopRequest, raise_if_requested, run_tool


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_only_sets_the_request(number):
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested


def test_a_launcher_that_passes_the_same_ctrl_c_on_does_not_interrupt():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested


def test_a_later_second_signal_interrupts_at_once(monkeypatch):
    monkeypatch.setattr(interrupt, "SECONDS_OF_ONE_REQUEST", -1.0)
    with pytest.raises(KeyboardInterrupt), StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_at_once_it_interrupts_and_an_interrupt_that_got_lost_is_raised_again():
    with StopRequest(at_once=True):
        raise_if_requested()
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            raise_if_requested()
    raise_if_requested()


class Cleaned:
    """Its clean-up is interrupted, which Python reports and drops."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)


def test_an_interrupt_that_python_drops_in_a_clean_up_is_repeated(capsys):
    hook = sys.unraisablehook

    def drop() -> None:
        Cleaned()
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt), StopRequest(at_once=True):
        drop()
    assert "ignored" not in capsys.readouterr().err
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_says_so_in_one_line(number, capsys):
    assert run_tool(lambda: os.kill(os.getpid(), number)) == 130
    assert capsys.readouterr().err == "interrupted: give the same command again\n"
    assert (run_tool(lambda: None), run_tool(lambda: 2)) == (0, 2)


def test_the_handlers_of_before_come_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
