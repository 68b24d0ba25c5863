"""What the traces that were read are a sample of, told with the evidence."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import structlog

from rollbackd.sources.http_reply import Trouble
from rollbackd.traces.backends.polling import Stretch
from rollbackd.traces.backends.server import NotThere
from rollbackd.traces.backends.spm import QUANTILE, WINDOW_S, Monitoring, Served
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.ledger import Floats
from rollbackd.traces.measures import BOUNDS, BUCKETS, INNER_BOUNDS
from rollbackd.traces.spans import NANOSECONDS, SpanColumns

log = structlog.get_logger()

AGAIN_S = 60.0
"""How often it is asked what there was."""
ABSENT_S = 900.0
"""How long a Jaeger without such figures is not asked again."""
FEW = 50.0
"""Calls in WINDOW_S of which nothing is said."""
WHOLE = 0.9
"""Share of the calls that counts as all of them: both counts are a little off in time."""
BIASED = 3.0
"""How many times as often failures must be kept before it is called sampling by outcome, and how much
slower the ones kept must be. Scatter is allowed for on top."""
SEVERAL = 10
"""Failures read, or calls, without which no share is compared."""
SCATTER = 3.0
"""Standard deviations of a Poisson count."""


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a service: its calls, the failed ones, and all by duration (BUCKETS)."""

    calls: int
    failed: int
    durations: Floats

    @property
    def slow_s(self) -> float:
        """Return a lower bound of the 95 % quantile of durations, 0 without any."""
        place = int(np.searchsorted(np.cumsum(self.durations), QUANTILE * self.durations.sum()))
        return BOUNDS[place - 1] if self.calls and place else 0.0


@dataclass(slots=True)
class _Account:
    """Of one service: what was read by stretch, and what is told of it."""

    read: deque[tuple[Stretch, Read]] = field(default_factory=deque)
    told: str = ""
    ask_at: float = -math.inf


class Sampling:
    """Compares what was read with what Jaeger's metrics say there was.

    Args:
        monitoring: where it says so. catalogue: what the rows of spans mean.
    """

    def __init__(self, monitoring: Monitoring, catalogue: Catalogue) -> None:
        self._monitoring = monitoring
        self._catalogue = catalogue
        self._accounts: dict[str, _Account] = {}
        self._troubled = False

    def note(self, service: str, stretch: Stretch, spans: SpanColumns) -> None:
        """Note what was read; the caller holds the book's lock."""
        account = self._accounts.setdefault(service, _Account())
        rows, inverse = np.unique(spans.row, return_inverse=True)
        served = np.array([self._is_served(int(row), service) for row in rows], dtype=np.bool_)
        ours = served[inverse]
        seconds = (spans.end - spans.start)[ours].astype(np.float64) / NANOSECONDS
        place = np.searchsorted(INNER_BOUNDS, seconds, side="left")
        durations = np.bincount(place, minlength=BUCKETS).astype(np.float64)
        read = Read(int(ours.sum()), int(spans.failed[ours].sum()), durations)
        account.read.append((stretch, read))
        while account.read[0][0][1] <= stretch[1] - WINDOW_S:
            account.read.popleft()

    def _is_served(self, row: int, service: str) -> bool:
        owner = self._catalogue.row_owner[row]
        operation = self._catalogue.operations[int(self._catalogue.row_operation[row])]
        return owner is not None and owner.sent_as == service and operation.kind == "server"

    def told(self, service: str, now: float) -> tuple[str, str] | None:
        """Return what is to be told of a service and what was before, None to leave that."""
        account = self._accounts.get(service)
        if account is None or now < account.ask_at:
            return None
        covered = sum(end - begin for (begin, end), _ in account.read)
        if covered < WINDOW_S:
            return None  # a part of the time was not read: it cannot be compared
        account.ask_at = now + AGAIN_S
        try:
            served = self._monitoring.served(service, account.read[-1][0][1])
        except NotThere:
            for other in self._accounts.values():
                other.ask_at = now + ABSENT_S
            return None
        except Trouble as trouble:
            if not self._troubled:
                log.info("service performance monitoring not readable", reason=trouble.detail)
            self._troubled = True
            return None
        self._troubled = False
        before, account.told = account.told, "; ".join(stated(service, _sum(account), served))
        return account.told, before

    def close(self) -> None:
        """Release connections."""
        self._monitoring.close()


def _sum(account: _Account) -> Read:
    parts = [read for _, read in account.read]
    durations = np.sum([part.durations for part in parts], axis=0)
    return Read(sum(p.calls for p in parts), sum(p.failed for p in parts), durations)


def stated(service: str, read: Read, served: Served | None) -> Iterator[str]:
    """Yield what is to be said of a sample: how much of all it is, and what it was chosen by."""
    if served is None or served.calls < FEW:
        return
    minutes, source = f"{WINDOW_S / 60:.0f} min", "by Jaeger's SPM"
    if read.calls == 0:
        yield (
            f"nothing read of about {_about(served.calls)} calls of {service} in {minutes} ({source}): "
            "are its spans sampled away, or do they not name their process?"
        )
        return
    if read.calls >= WHOLE * served.calls:
        return
    yield (
        f"sampled: {read.calls:,} of about {_about(served.calls)} calls of {service} in {minutes} "
        f"were read ({source})"
    )
    kept = read.failed - SCATTER * math.sqrt(read.failed)
    if (
        served.failed is not None
        and read.failed >= SEVERAL
        and kept > BIASED * served.failed * read.calls
    ):
        yield (
            f"failures are kept more often: {read.failed / read.calls:.2g} of the calls read failed, "
            f"{served.failed:.2g} of all"
        )
    if served.slow and read.calls >= SEVERAL / (1 - QUANTILE):
        # in whichever unit it is closer: the storage does not say
        all_s = min((served.slow / 1000.0, served.slow), key=lambda s: _apart(s, read.slow_s))
        if read.slow_s > BIASED * all_s:
            yield (
                f"slow ones are kept more often: a twentieth of the calls read took {read.slow_s:.2g} s "
                f"or more, of all {all_s:.2g} s"
            )


def _apart(one: float, other: float) -> float:
    """Return how far two times are apart on the log scale."""
    return abs(math.log(one / other)) if one > 0 and other > 0 else math.inf


def _about(count: float) -> str:
    """Return a count with two significant digits."""
    size = 10.0 ** max(math.floor(math.log10(count)) - 1, 0)
    return f"{round(count / size) * size:,.0f}"
