"""Nobody has to press Ctrl-C twice."""

import signal

import pytest

from rollbackd.demo.interrupts import Interrupts


class Finaliser:
    """Python drops what is raised while it is removed."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_dropped_is_raised_again(number: signal.Signals) -> None:
    interrupts = Interrupts()
    before = signal.getsignal(number)
    with interrupts.heeded():
        interrupts.check()
        Finaliser(number)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(number) is before


def test_an_interrupt_is_raised_where_it_arrives() -> None:
    interrupts = Interrupts()
    with interrupts.heeded(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
