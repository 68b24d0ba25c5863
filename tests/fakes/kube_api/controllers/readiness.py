"""When a pod becomes ready: after a time, never, or when a test says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tests.fakes.kube_api.objects.metadata import annotations_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.kube_api.objects.metadata import JsonObject

# On a pod (or a pod template): seconds as a number, or "never".
READY_AFTER_ANNOTATION = "fake.rollbackd.dev/ready-after"


@dataclass(frozen=True, slots=True)
class ReadyAfter:
    """Ready once, this many seconds after the start."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class NeverReady:
    """Runs, but is never ready."""


@dataclass(frozen=True, slots=True)
class AskReadiness:
    """Ready whenever the check says so, asked again and again on the hook thread."""

    check: Callable[[JsonObject], bool]


Readiness: TypeAlias = ReadyAfter | NeverReady | AskReadiness


def parse_readiness(text: str) -> Readiness:
    """Read the annotation's form: seconds, or "never"."""
    return NeverReady() if text == "never" else ReadyAfter(float(text))


def readiness_of(pod: JsonObject, otherwise: Readiness) -> Readiness:
    """Return the pod's own rule, if it is annotated with one that can be read."""
    text = annotations_of(pod).get(READY_AFTER_ANNOTATION)
    if text is None:
        return otherwise
    try:
        return parse_readiness(text)
    except ValueError:
        return otherwise
