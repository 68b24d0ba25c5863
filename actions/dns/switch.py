"""Carries out a plan's steps on DNS records: compare, swap, and ask the servers of the world."""

from collections.abc import Mapping

from actions.dns.ports import DnsBackend, Propagation
from actions.dns.record import Record, record_from_json, record_to_json
from actions.plan import Step
from actions.ports import Conflict, Permanent, StepState

NAME = "dns"
"""What steps on records carry as their actuator."""


def dns_step(backend: str, expected: Record, desired: Record, *, stage: int, summary: str) -> Step:
    """Return the step that swaps one record.

    Args:
        backend: name of the configured backend that the record is in.
        expected: the record as the plan saw it, whole.
        desired: the record as it shall be.
        stage: which part of a move it belongs to, from 1.
        summary: what it does, in one line.
    """
    return Step(
        actuator=NAME,
        target={"backend": backend, "name": expected.name, "type": expected.type, "stage": stage},
        expected=record_to_json(expected),
        desired={**record_to_json(desired), "summary": summary},
    )


def records_of(step: Step) -> tuple[Record, Record]:
    """Return the record that a step expects, and the one that it brings about."""
    return record_from_json(step.expected), record_from_json(step.desired)


class DnsSwitch:
    """Implements ``actions.ports.Performer`` for steps made by ``dns_step``.

    A step is done when no authoritative server gives the old answer any more. Servers that do not
    answer at all are not waited for: nobody gets the old answer from them either.

    Args:
        backends: by their configured names.
    """

    def __init__(self, backends: Mapping[str, DnsBackend]) -> None:
        self._backends = backends

    def inspect(self, step: Step) -> StepState:
        """Compare the record with the step."""
        expected, desired = records_of(step)
        backend = self._backend(step)
        now = backend.read(desired.name, desired.type)
        if now == desired:
            spread = backend.propagation(desired)
            return StepState.DONE if spread.complete else StepState.SETTLING
        return StepState.PENDING if now == expected else StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        """Swap the record; nothing is written when it is there already."""
        expected, desired = records_of(step)
        backend = self._backend(step)
        now = backend.read(desired.name, desired.type)
        if now == desired:
            return
        if now != expected:
            raise Conflict(
                f"{desired.name} is now {now.describe()}, and not as planned; nothing was written"
            )
        backend.swap(expected, desired)

    def propagation(self, step: Step) -> Propagation:
        """Ask every authoritative server how far a step is. Raises Transient or Permanent."""
        return self._backend(step).propagation(records_of(step)[1])

    def _backend(self, step: Step) -> DnsBackend:
        name = str(step.target["backend"])
        if name not in self._backends:
            raise Permanent(f"no DNS backend named {name} is configured any more")
        return self._backends[name]
