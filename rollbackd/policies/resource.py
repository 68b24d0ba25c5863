"""One RollbackPolicy: what counts of it now, and what is wrong with its newest version."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import structlog

from rollbackd.config.manifests import (
    Limits,
    PolicyInvalid,
    ReadPolicy,
    match_of,
    read_policy,
    resource_name,
)
from rollbackd.config.models.policy_resource import API_VERSION, KIND
from rollbackd.config.problems import Fault
from rollbackd.config.settings import Match
from rollbackd.rollouts.objects import seconds_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PolicyResource:
    """What is kept of a RollbackPolicy.

    Attributes:
        generation: of its newest version. created_at: seconds since the epoch.
        read: its last valid version, or None when there was none since we look.
        trouble: what is wrong with the newest one, or "".
        match: which workloads it means; None when that cannot be told.
        status: as it is in the cluster.
    """

    uid: str
    namespace: str
    name: str
    generation: int
    created_at: float
    read: ReadPolicy | None
    trouble: str
    match: Match | None
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """What the policy is called everywhere else."""
        return resource_name(self.namespace, self.name)

    @property
    def order(self) -> tuple[int, float, str]:
        """The order in which policies of a namespace are matched, the first first."""
        priority = self.read.priority if self.read is not None else 0
        return -priority, self.created_at, self.name


@dataclass(frozen=True, slots=True)
class _Version:
    generation: int
    read: ReadPolicy | None
    trouble: str
    match: Match | None


class ResourceReader:
    """Reads RollbackPolicies, and remembers the last valid version of each. Thread-safe.

    Args:
        limits: how much they count.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = Lock()
        self._known: dict[str, _Version] = {}

    def __call__(self, raw: Mapping[str, Any]) -> PolicyResource:
        """Return what is kept of one; raises nothing, whatever it holds."""
        metadata = raw["metadata"]
        uid, generation = str(metadata["uid"]), int(metadata.get("generation", 0))
        with self._lock:
            known = self._known.get(uid)
        if known is None or known.generation != generation:
            before = known.read if known is not None else None
            known = self._version(raw, generation, before)
            with self._lock:
                self._known[uid] = known
        status = raw.get("status")
        return PolicyResource(
            uid=uid,
            namespace=metadata["namespace"],
            name=metadata["name"],
            generation=generation,
            created_at=seconds_of(metadata["creationTimestamp"]),
            read=known.read,
            trouble=known.trouble,
            match=known.match,
            status=status if isinstance(status, dict) else {},
        )

    def forget_others(self, uids: Collection[str]) -> None:
        """Forget every policy but these: the others were deleted."""
        with self._lock:
            self._known = {uid: known for uid, known in self._known.items() if uid in uids}

    def _version(
        self, raw: Mapping[str, Any], generation: int, before: ReadPolicy | None
    ) -> _Version:
        metadata = raw["metadata"]
        name = resource_name(metadata["namespace"], metadata["name"])
        # What a server of another version adds to the envelope is no fault of the policy.
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": metadata,
            "spec": raw.get("spec"),
        }
        try:
            read = read_policy(manifest, self._limits)
        except PolicyInvalid as error:
            trouble = str(error)
        except Exception:
            # One policy that we cannot read must not keep us from reading the others.
            log.exception("policy broke", policy=name)
            trouble = str(PolicyInvalid([Fault(("spec",), "an internal error, see the log")]))
        else:
            log.info("policy read", policy=name, generation=generation)
            return _Version(generation, read, "", read.rule.match)
        log.warning("policy invalid", policy=name, generation=generation, problems=trouble)
        match = (
            before.rule.match if before is not None else _meant(manifest, metadata["namespace"])
        )
        return _Version(generation, before, trouble, match)


def _meant(manifest: Mapping[str, Any], namespace: str) -> Match | None:
    try:
        return match_of(manifest, namespace)
    except Exception:
        log.exception("match of a policy broke", namespace=namespace)
        return None
