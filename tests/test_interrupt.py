import os
import signal
import threading

import pytest

from limbeck._interrupt import deferred_interrupt, interrupt_ends


def test_nothing_is_requested_at_first():
    with deferred_interrupt() as interrupt:
        assert not interrupt.requested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number):
    with deferred_interrupt() as interrupt:
        os.kill(os.getpid(), number)
        assert interrupt.requested


def test_the_second_one_stops_at_once():
    with deferred_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_one_request_is_forgotten_by_the_next():
    with deferred_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
    with deferred_interrupt() as interrupt:
        assert not interrupt.requested


def test_the_handlers_are_as_before_afterwards_even_after_an_error():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with deferred_interrupt():
        assert [signal.getsignal(number) for number in numbers] != before
    with pytest.raises(RuntimeError), deferred_interrupt():
        raise RuntimeError
    assert [signal.getsignal(number) for number in numbers] == before


def test_outside_the_main_thread_nothing_is_deferred():
    seen = []

    def work():
        with deferred_interrupt() as interrupt:
            seen.append((interrupt.requested, signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_an_interrupt_ends_what_may_not_be_cut_off():
    seen = []
    with interrupt_ends(lambda: seen.append("end")):
        os.kill(os.getpid(), signal.SIGINT)
        assert seen == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_is_there_already_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_ends(lambda: None):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
