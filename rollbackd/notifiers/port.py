"""The port of notifiers. It is here because its caller, the pump, and what is told, a view, are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from actions.ports import Transient
from rollbackd.views import WatchView


class Throttled(Transient):
    """The other side asked for patience; nothing more is sent to it for ``retry_after_s``."""

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Memo:
    """What a notifier remembers of one watch, such as the message it is told in.

    Attributes:
        data: plain JSON values, as kept last; empty when the watch was never told.
        write: puts values into the journal. delivery: names this telling; the same when repeated.
    """

    data: Mapping[str, Any]
    write: Callable[[Mapping[str, Any]], None]
    delivery: str = ""

    def keep(self, **changes: object) -> None:
        """Remember something from now on, over restarts, even if the rest of the telling fails.

        Raises:
            Transient: the journal cannot be written.
        """
        self.write({**self.data, **changes})
        self.data = {**self.data, **changes}


class Notifier(Protocol):
    """What tells somebody of a watch. Called by one thread."""

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Tell the newest state of a watch; what was told before is updated, not repeated.

        Telling the same twice does no harm. Raises Transient (tried again with back-off),
        Throttled (tried again when the other side allows) or Permanent (this state is given up,
        the next one is told).
        """

    def close(self) -> None:
        """Release everything."""
