"""The files that the demo's daemon reads: what a user would write by hand for this shop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rollbackd.demo.front import Addresses

NAMESPACE, NAME = "demo", "shop"
BASELINE, CANARY = "v1", "v2"
"""What people call the two versions."""

ERRORS_MATTER = {"margin": "2", "harm": "3", "harm_rate": "3%"}
LATENCY_MATTERS = {"margin": "+75%", "harm": "2"}
"""What counts as harm to this shop. Coarser than the defaults: to exclude small harm, and to prove
recovery from it, takes more traffic than a minute brings, and on a machine that is busy with other
things latency moves by some ten per cent with nobody at fault."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the daemon listens: for people, and for spans."""

    http: str
    traces: str


@dataclass(frozen=True, slots=True)
class Files:
    """Where the daemon's files are."""

    directory: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.directory / "rollbackd.yaml"

    @property
    def rollout(self) -> Path:
        """The static rollouts; the canary has no instances until it gets traffic."""
        return self.directory / "rollout.yaml"

    @property
    def journal(self) -> Path:
        """The journal's database."""
        return self.directory / "journal.db"

    def write_config(
        self,
        listen: Listening,
        addresses: Addresses,
        load_metrics: str,
        action: Mapping[str, Any],
        *,
        traces_decide: bool = False,
    ) -> None:
        """Write the configuration."""
        targets = [load_metrics, *addresses.servers]
        config = {
            "tick": "1s",
            "settle": "1s",
            "journal": {"url": f"sqlite:///{self.journal}"},
            "http": {"listen": listen.http},
            "traces": {"receiver": {"listen": listen.traces}, "assembly": "1s"},
            "source": {
                "scrape": {
                    "interval": "1s",
                    "timeout": "1s",
                    "targets": [{"address": address} for address in targets],
                }
            },
            "rollouts": {"static_file": str(self.rollout)},
            "actions": [{"name": "switch", **action}],
            "policies": [_policy(traces_decide=traces_decide)],
        }
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))

    def write_rollout(self, addresses: Addresses, *, canary_serves: bool) -> None:
        """Write which instances run which version, as a deployment tool would.

        The daemon re-reads the file. It is there from the beginning, with nothing rolled out yet,
        so that the daemon knows the baseline's instances as old when the canary appears.
        """
        rollout = {
            "name": NAME,
            "namespace": NAMESPACE,
            "id_label": "instance",
            "baseline": {"label": BASELINE, "instances": list(addresses.baseline)},
            "canary": {
                "label": CANARY,
                "instances": [addresses.canary] if canary_serves else [],
            },
        }
        beside = self.rollout.with_suffix(".new")
        beside.write_text(yaml.safe_dump([rollout], sort_keys=False))
        beside.replace(self.rollout)


def _policy(*, traces_decide: bool) -> dict[str, Any]:
    """Return a policy with the durations of a demo: everything that takes minutes takes seconds.

    The caller's metrics decide, because a crashing process cannot count its own failures; what
    the service says of itself is only shown.
    """
    return {
        "name": "demo",
        "mode": "enforce",
        "warm_up": "2s",
        "min_observation": "30s",
        "horizon": "75s",
        "persistence": "4s",
        "history": "60s",
        "blind_after": "10s",
        "recovery": "20s",
        "actions": ["switch"],
        "signals": [
            _errors("errors", "client_requests_total", ["upstream"]) | ERRORS_MATTER,
            _latency("latency", "client_request_duration_seconds_bucket", ["upstream"])
            | LATENCY_MATTERS,
            {"name": "traces", "traces": {}, "tier": "critical" if traces_decide else "supporting"}
            | ERRORS_MATTER,
            _errors("service-errors", "http_requests_total", []) | {"tier": "info"},
            _latency("service-latency", "http_request_duration_seconds_bucket", [])
            | {"tier": "info"},
        ],
    }


def _errors(name: str, total: str, id_labels: Sequence[str]) -> dict[str, Any]:
    bad = total + '{code=~"5.."}'
    return {"name": name, "ratio": {"total": total, "bad": bad}, "id_labels": list(id_labels)}


def _latency(name: str, buckets: str, id_labels: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "histogram": {"buckets": buckets, "unit": "s"},
        "id_labels": list(id_labels),
    }
