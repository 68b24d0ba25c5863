"""Faults a test can switch on: which requests they hit, how often, and what they do."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .objects.errors import ApiError, expired, forbidden, unauthorized

if TYPE_CHECKING:
    from .objects.metadata import JsonObject

MAX_LATENCY_SECONDS = 120.0


class FaultAction(StrEnum):
    """What happens to a request which a fault hits."""

    THROTTLE = "throttle"  # 429 with Retry-After of `seconds`
    ERROR = "error"  # `code`, a 5xx
    UNAUTHORIZED = "unauthorized"  # 401
    FORBIDDEN = "forbidden"  # 403
    GONE = "gone"  # HTTP 410
    DROP_BEFORE = "drop-before"  # the connection closes, nothing was applied
    DROP_AFTER = "drop-after"  # applied, but the answer is lost
    TRUNCATE = "truncate"  # applied, half of the answer arrives
    LATENCY = "latency"  # `seconds` pass first; other faults still apply


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule: every given criterion must match; an empty one matches anything.

    Attributes:
        action: what to do.
        verb: API verb (`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …).
        method: HTTP method.
        path: regular expression searched for in the path.
        count: how many requests are hit before the fault is spent; `None` is no limit.
        probability: share of the matching requests which are hit.
        seed: of the draws that `probability` asks for.
        seconds: latency, or the Retry-After of a throttle.
        code: HTTP status of an error.
    """

    action: FaultAction
    verb: str = ""
    method: str = ""
    path: str = ""
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    seconds: float = 1.0
    code: int = 500

    def __post_init__(self) -> None:
        if not 0.0 < self.probability <= 1.0:
            raise ValueError(f"probability must be in (0, 1], not {self.probability}")
        if not 0.0 <= self.seconds <= MAX_LATENCY_SECONDS:
            raise ValueError(f"seconds must be in [0, {MAX_LATENCY_SECONDS}], not {self.seconds}")
        if not 500 <= self.code <= 599:
            raise ValueError(f"code must be a server error, not {self.code}")
        re.compile(self.path)


class _ArmedFault:
    """A fault with its counters."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.hits = 0
        self._pattern = re.compile(fault.path)
        self._draws = random.Random(fault.seed)

    def strikes(self, verb: str, method: str, path: str) -> bool:
        fault = self.fault
        is_spent = fault.count is not None and self.hits >= fault.count
        if is_spent or fault.verb not in ("", verb) or fault.method.upper() not in ("", method):
            return False
        if not self._pattern.search(path) or self._draws.random() >= fault.probability:
            return False
        self.hits += 1
        return True


class FaultBook:
    """The faults switched on right now."""

    def __init__(self) -> None:
        self._armed: dict[int, _ArmedFault] = {}
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> int:
        """Switch a fault on and return its number."""
        number = next(self._numbers)
        self._armed[number] = _ArmedFault(fault)
        return number

    def remove(self, number: int) -> bool:
        """Switch a fault off; say whether it was on."""
        return self._armed.pop(number, None) is not None

    def clear(self) -> None:
        """Switch all faults off."""
        self._armed.clear()

    def listed(self) -> list[JsonObject]:
        """Return the faults with their numbers and how often each has hit."""
        return [
            {"id": number, "hits": armed.hits, **asdict(armed.fault)}
            for number, armed in self._armed.items()
        ]

    def striking(self, verb: str, method: str, path: str) -> tuple[float, Fault | None]:
        """Return the latency for a request, and the first other fault that hits it."""
        latency = 0.0
        for armed in self._armed.values():
            if not armed.strikes(verb, method, path):
                continue
            if armed.fault.action is not FaultAction.LATENCY:
                return latency, armed.fault
            latency += armed.fault.seconds
        return latency, None


def refusal(fault: Fault) -> ApiError | None:
    """Return the error answer of a fault, if answering with an error is what it does."""
    match fault.action:
        case FaultAction.THROTTLE:
            return ApiError(
                429,
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
                details={"retryAfterSeconds": round(fault.seconds)},
            )
        case FaultAction.ERROR:
            reason = "ServiceUnavailable" if fault.code == 503 else "InternalError"
            return ApiError(fault.code, reason, "a fault was injected")
        case FaultAction.UNAUTHORIZED:
            return unauthorized()
        case FaultAction.FORBIDDEN:
            return forbidden("requests", "", "a fault was injected")
        case FaultAction.GONE:
            return expired("The provided resource version is too old")
        case _:
            return None
