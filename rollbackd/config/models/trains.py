"""``trains``: releases that travel over regions, one after the other."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from actions.trains.settings import API, Paused, Workflow
from analyzer.policy import Mode
from analyzer.trains.policy import OnFailure, TrainPolicy
from rollbackd.config import train_settings as settings
from rollbackd.config.models.base import (
    Bool,
    Model,
    Name,
    Text,
    Url,
    WithSecret,
    default,
    one_secret,
    path,
)
from rollbackd.config.models.policies import DecidersModel
from rollbackd.config.models.source import EndpointModel
from rollbackd.config.quantities import Duration, PositiveDuration, fault, shown

LEAST_REGIONS = 2


def _workload(text: str) -> str:
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", text):
        raise fault(f"{shown(text)} is no workload", "namespace/name, such as shop/checkout")
    return text


def _repository(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", text):
        raise fault(f"{shown(text)} is no repository", "owner/name, such as acme/shop")
    return text


Workload = Annotated[Text, AfterValidator(_workload)]
Repository = Annotated[Text, AfterValidator(_repository)]


class DaemonModel(EndpointModel):
    """The rollbackd of a region. Its bearer token is needed only for roll_back."""

    url: Url
    """Base address, such as https://rollbackd.us.example.net."""

    def settings(self, base: Path) -> settings.DaemonSettings:
        """Return the frozen settings."""
        return self.endpoint(base, settings.DaemonSettings)


class GitHubModel(WithSecret):
    """A workflow of GitHub Actions, started by a dispatch.

    Its run-name must hold the input "rollbackd": GitHub gives a dispatch no identity, and a run is
    found again by its name only. Inputs "release" and "region" are sent along, too.
    """

    repository: Repository
    """owner/name."""
    workflow: Text | None = None
    """File name of the workflow, such as deploy.yaml, for a workflow_dispatch."""
    ref: Text = "main"
    """Branch or tag that the workflow is taken from."""
    event_type: Text | None = None
    """Type of a repository_dispatch, instead of a workflow."""
    inputs: dict[Text, str] = Field(default_factory=dict)
    """Further inputs, or keys of the payload."""
    api: Url = API
    """Address of the API; default: github.com's."""
    timeout: PositiveDuration = default("10s")
    """How long one call may take (duration)."""

    @model_validator(mode="after")
    def _one_event(self) -> "GitHubModel":
        if (self.workflow is None) == (self.event_type is None):
            raise fault("exactly one of workflow and event_type is needed")
        return self

    def settings(self, base: Path) -> settings.DispatchSettings:
        """Return the frozen settings."""
        workflow = Workflow(
            self.repository, self.workflow or "", self.ref, self.event_type or "", self.inputs
        )
        token = one_secret(base, self.secret_file, self.secret_env)
        return settings.DispatchSettings(workflow, token, self.api, self.timeout)


class UnpauseModel(Model):
    """A workload that is deployed paused, and annotated with rollbackd.io/commit."""

    kind: Literal["Deployment", "Rollout"] = "Deployment"
    """Kind of the workload; Rollout is Argo's."""
    workload: Workload
    """namespace/name."""
    context: Text | None = None
    """Context of the kubeconfig; default: its current one."""
    kubeconfig: Text | None = None
    """File; default: KUBECONFIG or ~/.kube/config, and in a pod its service account."""
    in_cluster: Bool | None = None
    """true: only the pod's service account; false: only the kubeconfig; default: what is there."""
    server: Url | None = None
    """Address of an API server that asks for no authentication, such as kubectl proxy."""

    @model_validator(mode="after")
    def _one_way_in(self) -> "UnpauseModel":
        by_file = self.kubeconfig is not None or self.context is not None
        if sum([self.server is not None, by_file, bool(self.in_cluster)]) > 1:
            raise fault("give one of server, kubeconfig (with its context) and in_cluster")
        return self

    def settings(self, base: Path) -> settings.UnpauseSettings:
        """Return the frozen settings."""
        namespace, _, name = self.workload.partition("/")
        return settings.UnpauseSettings(
            Paused(namespace, name, self.kind),
            server=self.server,
            kubeconfig=path(base, self.kubeconfig),
            context=self.context,
            in_cluster=self.in_cluster,
        )


class StopModel(Model):
    """One region of a train."""

    name: Name
    """What people call the region."""
    workload: Workload
    """namespace/name of the workload, as that region's daemon calls it."""
    daemon: DaemonModel | None = None
    """The rollbackd that judges this region; default: this one."""
    github: GitHubModel | None = None
    """Release it by starting a workflow."""
    unpause: UnpauseModel | None = None
    """Release it by letting a paused workload go on."""

    @model_validator(mode="after")
    def _one_lever(self) -> "StopModel":
        if self.github is not None and self.unpause is not None:
            raise fault("there are both github and unpause", "keep one way to release a region")
        return self

    def settings(self, base: Path) -> settings.StopSettings:
        """Return the frozen settings."""
        lever = self.github or self.unpause
        return settings.StopSettings(
            region=self.name,
            workload=self.workload,
            daemon=None if self.daemon is None else self.daemon.settings(base),
            lever=None if lever is None else lever.settings(base),
        )


class TrainModel(Model):
    """A release that travels over regions: the next begins when the one before is healthy."""

    name: Name
    """What people call it."""
    mode: Mode = Mode.OBSERVE
    """observe: say when the next region may be released; approve: ask; enforce: release it."""
    on_failure: OnFailure = OnFailure.STOP
    """stop: regions that have the release keep it; roll_back: their daemons are asked to go back."""
    soak: Duration = default("10m")
    """Least time between the verdict on a region and the release of the next (duration)."""
    begin_within: PositiveDuration = default("15m")
    """A released region that shows nothing of it after this time calls people (duration)."""
    blind_after: PositiveDuration = default("5m")
    """People are told when a region cannot be seen for longer than this (duration)."""
    approval_expires: PositiveDuration = default("1d")
    """An approval that has not come by then is void, and people are called (duration)."""
    deciders: DecidersModel = Field(default_factory=DecidersModel)
    """Who may decide about this train by a message's buttons; default: nobody."""
    regions: list[StopModel] = Field(min_length=LEAST_REGIONS)
    """The regions, in order; the rollout in the first one begins the train."""

    @field_validator("regions")
    @classmethod
    def _a_route(cls, regions: list[StopModel]) -> list[StopModel]:
        names = [stop.name for stop in regions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise fault(f"the train stops at {shown(twice)} twice")
        places = [(stop.daemon.url if stop.daemon else "", stop.workload) for stop in regions]
        same = next((n for n, p in zip(names, places, strict=True) if places.count(p) > 1), None)
        if same is not None:
            raise fault(
                f"{shown(same)} and another region are the same workload of the same daemon",
                "give each region its own daemon, or its own workload",
            )
        first = regions[0]
        if first.github is not None or first.unpause is not None:
            raise fault(
                f"{shown(first.name)}, the first region, has a way to be released",
                "its rollout is what begins the train",
            )
        return regions

    @model_validator(mode="after")
    def _can_be_done(self) -> "TrainModel":
        stuck = next((s.name for s in self.regions[1:] if not (s.github or s.unpause)), None)
        if stuck is not None and self.mode is not Mode.OBSERVE:
            raise fault(
                f"nothing releases {shown(stuck)}", "give it github or unpause, or mode: observe"
            )
        if self.on_failure is OnFailure.ROLL_BACK:
            for stop in self.regions:
                daemon = stop.daemon
                if daemon and not (daemon.bearer_token_file or daemon.bearer_token_env):
                    raise fault(
                        f"the daemon of {shown(stop.name)} has no bearer token",
                        "on_failure: roll_back asks it to go back, which needs its http.token",
                    )
        return self

    def settings(self, base: Path) -> settings.TrainSettings:
        """Return the frozen settings."""
        return settings.TrainSettings(
            name=self.name,
            policy=TrainPolicy(
                mode=self.mode,
                on_failure=self.on_failure,
                soak_s=self.soak,
                begin_within_s=self.begin_within,
                blind_after_s=self.blind_after,
                approval_expires_s=self.approval_expires,
            ),
            stops=tuple(stop.settings(base) for stop in self.regions),
            deciders=self.deciders.settings(),
        )
