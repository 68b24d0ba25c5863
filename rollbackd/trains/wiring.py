"""From the settings of ``trains`` to a conductor with its stations and levers."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from actions.apply import Applier
from actions.ports import Journal, Permanent
from actions.trains.lever import Lever
from rollbackd.config.secrets import SecretError
from rollbackd.config.train_settings import (
    DispatchSettings,
    StopSettings,
    TrainSettings,
    UnpauseSettings,
)
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.trains.conductor import Conductor, Levers, Line
from rollbackd.trains.station import HomeStation, RemoteStation, Station
from rollbackd.views import WatchView
from rollbackd.wiring import http_access
from rollbackd.withdrawals import Withdrawn

ACCEPT = "application/vnd.github+json"
API_VERSION = "2022-11-28"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the daemon lends to trains.

    Attributes:
        pause: waits so many seconds, and tells whether to go on.
        permit: raises Fenced when another process leads.
        views: what this daemon watches. withdraw: takes back a release here.
    """

    journal: Journal
    now: Callable[[], float]
    pause: Callable[[float], bool]
    permit: Callable[[], None]
    views: Callable[[], tuple[WatchView, ...]]
    withdraw: Callable[[str, str], Withdrawn]


def conductor(
    trains: Sequence[TrainSettings], around: Surroundings, stack: ExitStack
) -> Conductor:
    """Build the conductor of the configured trains; ``stack`` closes what it needs, not itself.

    Raises:
        SecretError: a token cannot be read.
    """

    def applier(name: str, lever: Lever) -> Applier:
        return Applier(
            {name: lever}, around.journal, around.now, around.pause, permit=around.permit
        )

    lines = [_line(settings, around, stack) for settings in trains]
    return Conductor(lines, around.journal, applier, around.now)


def _line(settings: TrainSettings, around: Surroundings, stack: ExitStack) -> Line:
    makers = {stop.region: _levers(stop, around, stack) for stop in settings.stops}
    return Line(
        name=settings.name,
        route=tuple(stop.region for stop in settings.stops),
        policy=settings.policy,
        stations={stop.region: _station(stop, around, stack) for stop in settings.stops},
        lever=lambda region, begun: makers[region](region, begun),
    )


def _station(stop: StopSettings, around: Surroundings, stack: ExitStack) -> Station:
    daemon = stop.daemon
    if daemon is None:
        return HomeStation(around.views, around.withdraw, stop.workload)
    session = stack.enter_context(http_access(daemon).open_session())
    return RemoteStation(
        daemon.url,
        stop.workload,
        session,
        timeout_s=daemon.timeout_s,
        max_bytes=daemon.max_reply_bytes,
    )


def _levers(stop: StopSettings, around: Surroundings, stack: ExitStack) -> Levers:
    """Return what makes a region's lever, with the connections that it keeps."""
    match stop.lever:
        case DispatchSettings() as dispatch:
            from actions.dns.rest import TokenSession  # noqa: PLC0415  when used
            from actions.trains.dispatch import GitHubDispatch  # noqa: PLC0415

            session = stack.enter_context(TokenSession(partial(_token, dispatch)))
            session.headers.update({"accept": ACCEPT, "x-github-api-version": API_VERSION})
            return lambda _, begun: GitHubDispatch(
                dispatch.workflow,
                session,
                begun=begun,
                api=dispatch.api,
                timeout_s=dispatch.timeout_s,
            )
        case UnpauseSettings() as unpause:
            from actions.trains.unpause import Unpause  # noqa: PLC0415  when used

            access = ClusterAccess(
                server=unpause.server,
                kubeconfig=unpause.kubeconfig,
                context=unpause.context,
                in_cluster=unpause.in_cluster,
            )
            cluster = Connection(access, around.permit)
            stack.callback(cluster.close)
            return lambda _, __: Unpause(cluster, unpause.paused)
        case None:
            return _by_hand
        case _:
            assert_never(stop.lever)


def _token(settings: DispatchSettings) -> str:
    try:
        return settings.token.read()
    except SecretError as error:
        raise Permanent(str(error)) from error


def _by_hand(region: str, begun: frozenset[str]) -> Lever:
    del begun
    raise Permanent(f"nothing is configured that releases {region}")
