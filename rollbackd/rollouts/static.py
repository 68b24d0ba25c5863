"""Rollouts between two named groups of instances, for use without Kubernetes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.sample import Absence, Missing
from rollbackd.config import ConfigError, load_static_rollouts
from rollbackd.config.settings import InstanceGroup, StaticRollout
from rollbackd.rollouts.annotations import said

KIND = "Static"

log = structlog.get_logger()

Key = tuple[str, ...]
"""What identifies a group, or with one more name an instance of it."""


class StaticRollouts:
    """A ``RolloutSource`` over groups given directly and through a file that may change.

    The file is read again when its content changes. One that cannot be read or makes no sense
    changes nothing: the last good one holds, and ``problem`` and the log say what is wrong.

    Args:
        given: rollouts that do not change.
        file: where more are read from.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        given: Sequence[StaticRollout] = (),
        *,
        file: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._given = tuple(given)
        self._file = file
        self._clock = clock
        self._content: bytes | None = None
        self._read: tuple[StaticRollout, ...] | None = () if file is None else None
        self._sightings: Sightings | None = None
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with the file now, None when nothing is."""
        return self._problem

    def rollouts(self) -> Sequence[Rollout] | Missing:
        """Return every rollout with canary instances, or why the file was never read."""
        self._refresh()
        if self._read is None:
            return Missing(Absence.INVALID, self._problem or f"{self._file} was not read yet")
        now = self._clock()
        groups = (*self._given, *self._read)
        self._sightings = sighted(groups, self._sightings, now)
        return tuple(_rollout(g, self._sightings) for g in groups if g.canary.instances)

    def instances(self, workload: Workload, revision: Revision) -> Sequence[Instance] | Missing:
        """Return the instances of a revision as the groups name them now."""
        seen = self.rollouts()
        if isinstance(seen, Missing):
            return seen
        own = (rollout for rollout in seen if rollout.workload == workload)
        return next((r.baseline_instances for r in own if r.baseline == revision), ())

    def close(self) -> None:
        """Release nothing: no connection and no thread is held."""

    def _refresh(self) -> None:
        if self._file is None:
            return
        try:
            content = self._file.read_bytes()
        except OSError as error:
            self._content = None
            self._complain(str(error))
            return
        if content == self._content:
            return
        # Noted before it is understood: the same bad content is parsed once.
        self._content = content
        try:
            self._read = load_static_rollouts(self._file)
        except ConfigError as error:
            self._complain(str(error))
            return
        self._problem = None
        log.info("static rollouts read", file=str(self._file), rollouts=len(self._read))

    def _complain(self, problem: str) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        kept = None if self._read is None else len(self._read)
        log.warning("static rollouts not read", file=str(self._file), error=problem, kept=kept)


@dataclass(frozen=True, slots=True)
class Sightings:
    """Since when each canary is one, and each instance there, in seconds since the epoch.

    Baseline instances that were there at the first look have been running before us, for how
    long is not known: None.
    """

    canaries: Mapping[Key, float] = field(default_factory=dict)
    instances: Mapping[Key, float | None] = field(default_factory=dict)


def sighted(groups: Sequence[StaticRollout], before: Sightings | None, now: float) -> Sightings:
    """Return the sightings after one more look; ``before`` is None at the first.

    What disappeared is forgotten: when it comes back it is new.
    """
    known = before or Sightings()
    canaries: dict[Key, float] = {}
    instances: dict[Key, float | None] = {}
    for each in groups:
        for instance in each.baseline.instances:
            key = _key(each, each.baseline, instance)
            instances[key] = known.instances.get(key, None if before is None else now)
        for instance in each.canary.instances:
            key, group_key = _key(each, each.canary, instance), _key(each, each.canary)
            instances[key] = known.instances.get(key, now)
            canaries[group_key] = known.canaries.get(group_key, now)
    return Sightings(canaries, instances)


def _rollout(each: StaticRollout, seen: Sightings) -> Rollout:
    canary, baseline = each.canary, each.baseline
    return Rollout(
        workload=Workload(each.cluster, each.namespace, KIND, each.name),
        canary=Revision(canary.label, canary.label),
        baseline=Revision(baseline.label, baseline.label),
        canary_instances=_instances(each, canary, seen),
        baseline_instances=_instances(each, baseline, seen),
        id_labels=(each.id_label,),
        started_at=seen.canaries[_key(each, canary)],
        policy=each.policy,
        labels=each.labels,
        annotations=said(each.annotations),
    )


def _instances(each: StaticRollout, group: InstanceGroup, seen: Sightings) -> tuple[Instance, ...]:
    return tuple(Instance((i,), seen.instances[_key(each, group, i)]) for i in group.instances)


def _key(each: StaticRollout, group: InstanceGroup, *instance: str) -> Key:
    return (each.cluster, each.namespace, each.name, group.label, *instance)
