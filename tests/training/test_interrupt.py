"""Signals ask; the second Ctrl-C insists."""

import os
import signal
import threading

import pytest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_makes_the_request_and_nothing_else(number):
    from photoglue.training.interrupt import StopRequest

    before = signal.getsignal(number)
    request = StopRequest()
    with request.listening():
        assert not request.made
        os.kill(os.getpid(), number)
        assert request.made
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_interrupts():
    from photoglue.training.interrupt import StopRequest

    # Whoever starts tests in the background may have switched Ctrl-C off.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request = StopRequest()
    with pytest.raises(KeyboardInterrupt), request.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a scheduler may repeat itself
        assert request.made
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_changed():
    from photoglue.training.interrupt import StopRequest

    seen = []

    def work():
        with StopRequest().listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_who_presses_ctrl_c_is_answered_once(capfd):
    from photoglue.training.interrupt import StopRequest

    with StopRequest(talks=True).listening():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err.count("Will save and stop after this step or validation.") == 1
    with StopRequest().listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err == ""
