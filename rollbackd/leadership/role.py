"""What this process is: the only one, or one of several replicas, of which one leads."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from uuid import uuid4

from actions.ports import ActionError, Entry
from rollbackd.config.settings import Config, LeadershipSettings
from rollbackd.kubernetes.connection import Connection
from rollbackd.leadership.database import DatabaseLease
from rollbackd.leadership.elector import Elector, Pace
from rollbackd.leadership.kubernetes import KubernetesLease
from rollbackd.leadership.lease import LeaseStore
from rollbackd.store.journal import SqlJournal
from rollbackd.telemetry import Telemetry
from rollbackd.web.relay import Leader
from rollbackd.wiring import cluster_access


class Role:
    """Whether this process leads; the only process on a journal always does.

    Args:
        config: validated settings.
        journal: opened; a shared one needs an election.
        telemetry: shows who leads.
    """

    def __init__(self, config: Config, journal: SqlJournal, telemetry: Telemetry) -> None:
        self._config = config
        self._journal = journal
        self._telemetry = telemetry
        self._stack = ExitStack()
        self._elector: Elector | None = None
        self._on_elected: Callable[[], None] = lambda: None
        self._on_lost: Callable[[], None] = lambda: None
        self.identity = f"{socket.gethostname()}_{uuid4().hex[:8]}"
        if journal.is_shared:
            settings = config.leadership
            self._elector = Elector(
                self._lease(settings),
                self.identity,
                Pace(settings.duration_s, settings.renew_by_s, settings.retry_s),
                on_elected=self._win,
                on_lost=self._lose,
            )

    def _lease(self, settings: LeadershipSettings) -> LeaseStore:
        cluster = self._config.rollouts.kubernetes
        if settings.namespace is None or cluster is None:
            return DatabaseLease(self._journal.engine, settings.name)
        # A call that hangs must not use up the time in which it could be tried again.
        access = replace(cluster_access(cluster), timeout_s=settings.renew_by_s / 3)
        connection = Connection(access)
        self._stack.callback(connection.close)
        return KubernetesLease(connection, settings.namespace, settings.name, time.time)

    @property
    def is_elected(self) -> bool:
        """Whether there may be other replicas, so that leading has to be waited for."""
        return self._elector is not None

    @property
    def leads(self) -> bool:
        """Whether this process may act now."""
        return self._elector is None or self._elector.leads

    def permit(self) -> None:
        """Return when this process may change the world now. Raises Fenced otherwise."""
        if self._elector is not None:
            self._elector.permit()

    def describe(self) -> str:
        """Say what this replica is, for people."""
        if self._elector is None or self._elector.leads:
            return "leads"
        return f"follows {self._elector.leader or 'nobody yet'}"

    def leader(self) -> Leader:
        """Return who leads, as this replica saw it last, and how to reach them."""
        name = "" if self._elector is None else self._elector.leader
        try:
            began = self._journal.latest("daemon").get("")
        except ActionError:
            began = None
        if began is None or began.data.get("identity") != name:
            return Leader(name)
        return Leader(name, str(began.data.get("address", "")))

    def unready(self) -> str:
        """Return why a follower could not take over, or ""."""
        return "" if self._elector is None else self._elector.unseen()

    def stand(self, on_elected: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Take part in the election from now on. Both are called on the elector's thread."""
        self._on_elected, self._on_lost = on_elected, on_lost
        if self._elector is not None:
            self._elector.start()

    def begin(self) -> None:
        """Take the pen, now that this process leads: from here on no other one can write.

        Raises:
            Fenced: it leads no more. Transient: the journal cannot be reached now.
        """
        if self._elector is not None:
            token = self._journal.take_pen(self.permit)
            data = {"event": "leads", "identity": self.identity, "token": token}
            data |= {"address": self._config.leadership.address}
            self._journal.append(Entry(time.time(), "", "daemon", "", data))
        self._telemetry.leading(True)

    def _win(self) -> None:
        self._on_elected()

    def _lose(self) -> None:
        self._telemetry.leading(False)
        self._on_lost()

    def close(self) -> None:
        """Leave the election and let the next one lead; idempotent."""
        if self._elector is not None:
            self._elector.close()
        self._stack.close()
