"""``trains`` as the daemon sees it: frozen values, validated, all times in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from actions.trains.settings import Paused, Workflow
from analyzer.trains.policy import TrainPolicy
from rollbackd.config.secrets import Secret
from rollbackd.config.settings import Deciders, EndpointSettings


@dataclass(frozen=True, slots=True)
class DaemonSettings(EndpointSettings):
    """The daemon that judges a region."""


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """A workflow of GitHub Actions that releases a region; ``api`` is GitHub's base address."""

    workflow: Workflow
    token: Secret
    api: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class UnpauseSettings:
    """A paused workload, and how the cluster that it is in is reached."""

    paused: Paused
    server: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    in_cluster: bool | None = None


LeverSettings = DispatchSettings | UnpauseSettings


@dataclass(frozen=True, slots=True)
class StopSettings:
    """One region of a train.

    Attributes:
        workload: namespace/name, as that region's daemon calls it.
        daemon: who judges it; None is this daemon. lever: what releases it; None is a person.
    """

    region: str
    workload: str
    daemon: DaemonSettings | None = None
    lever: LeverSettings | None = None


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One release train; ``deciders``: who may decide about it by a message's buttons."""

    name: str
    policy: TrainPolicy
    stops: tuple[StopSettings, ...]
    deciders: Deciders = field(default_factory=Deciders)

    def secrets(self) -> Mapping[str, Secret]:
        """Return every secret by the key path below this train."""
        found: dict[str, Secret] = {}
        for place, stop in enumerate(self.stops):
            where = f"regions[{place}]"
            if stop.daemon is not None:
                found |= {
                    f"{where}.daemon.{key}": value for key, value in stop.daemon.secrets().items()
                }
            if isinstance(stop.lever, DispatchSettings):
                found[f"{where}.github"] = stop.lever.token
        return found
