"""What a release says about its own database migrations, in annotations of its pod template."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol
from urllib.parse import quote

from actions.cluster import HASH_LABEL
from actions.facts import Fact, SchemaBound
from actions.ports import Permanent
from analyzer.rollout import Revision, Rollout

INCOMPATIBLE = "rollbackd.io/schema-incompatible-with"
"""Annotation of a pod template: versions that do not work with the schema that this one migrates
to; shell patterns, separated by commas: ``1.4.*, 1.5.0``."""

LEAST = "rollbackd.io/min-rollback-revision"
"""Annotation of a pod template: the earliest version that works with the schema that this one
migrates to: ``1.6.0``."""

VERSION_KEYS = ("rollbackd.io/version", "app.kubernetes.io/version")
"""Where a template says its version: an annotation or label; else the tag of its first image."""

JsonObject = dict[str, Any]


class Listing(Protocol):
    """The call that ReplicaSets are read with, in raw JSON."""

    def items(self, path: str, label_selector: str) -> Sequence[JsonObject]:
        """Return the objects of a collection that the selector matches."""


class AnnotatedSchema:
    """Reads the canary's annotations; see ``actions.ports.SchemaGuard``.

    Args:
        api: the calls to the cluster that the rollouts come from.
    """

    def __init__(self, api: Listing) -> None:
        self._api = api

    def facts(self, rollout: Rollout) -> tuple[Fact, ...]:
        """Return what the canary's template says against its baseline."""
        good, workload = rollout.baseline, rollout.workload
        if good is None or workload.kind != "Deployment":
            return ()
        path = f"/apis/apps/v1/namespaces/{quote(workload.namespace)}/replicasets"
        hashes = ",".join(sorted({rollout.canary.label, good.label}))
        try:
            items = self._api.items(path, f"{HASH_LABEL} in ({hashes})")
        except Permanent as error:
            text = f"what the canary did to the database schema could not be read ({error})"
            return (SchemaBound(text, certain=False),)
        found = {item["metadata"]["uid"]: item["spec"]["template"] for item in items}
        canary, baseline = found.get(rollout.canary.id), found.get(good.id)
        if canary is None or baseline is None:
            return ()  # the actuator refuses for that reason
        return schema_facts(canary, baseline, good)


def schema_facts(
    canary: Mapping[str, Any], baseline: Mapping[str, Any], good: Revision
) -> tuple[Fact, ...]:
    """Return what the canary's template says about going back to the baseline's. Pure.

    A claim that cannot be compared with the baseline's version speaks against going back, too:
    whoever wrote it wanted to be asked.
    """
    annotations = (canary.get("metadata") or {}).get("annotations") or {}
    version = version_of(baseline)
    facts = []
    patterns = [p.strip() for p in annotations.get(INCOMPATIBLE, "").split(",") if p.strip()]
    hit = next((p for p in patterns if version and fnmatchcase(version, p)), None)
    if hit is not None:
        facts.append(
            SchemaBound(
                f"the canary migrated the database schema, and says that {version} ({good.label}) "
                f"does not work with it ({INCOMPATIBLE}: {hit})",
                certain=True,
            )
        )
    elif patterns and not version:
        facts.append(_unknown(INCOMPATIBLE, good))
    least = annotations.get(LEAST, "").strip()
    if least:
        facts += _too_early(least, version, good)
    return tuple(facts)


def _too_early(least: str, version: str, good: Revision) -> list[SchemaBound]:
    wanted, found = _numbers(least), _numbers(version)
    if not wanted or not found:
        return [_unknown(LEAST, good)]
    if found >= wanted:
        return []
    return [
        SchemaBound(
            f"the canary migrated the database schema, which works with {least} and later, and "
            f"{good.label} is {version} ({LEAST})",
            certain=True,
        )
    ]


def _unknown(annotation: str, good: Revision) -> SchemaBound:
    return SchemaBound(
        f"the canary migrated the database schema ({annotation}), and which version {good.label} "
        f"is cannot be told; label its template with {VERSION_KEYS[1]}",
        certain=False,
    )


def version_of(template: Mapping[str, Any]) -> str:
    """Return the version that a pod template is of, "" when it does not say."""
    metadata = template.get("metadata") or {}
    said = (metadata.get("labels") or {}) | (metadata.get("annotations") or {})
    for key in VERSION_KEYS:
        if said.get(key):
            return str(said[key]).removeprefix("v")
    containers = (template.get("spec") or {}).get("containers") or []
    image = str(containers[0].get("image", "")) if containers else ""
    tag = re.fullmatch(r"(?:.*/)?[^/:@]+:([^/:@]+)(?:@.*)?", image)
    return tag[1].removeprefix("v") if tag and tag[1] != "latest" else ""


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version to compare by; () when it does not begin with one."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()
