"""Who a Slack user is: names, address, groups. Asked of Slack, remembered for a short time."""

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog
from slack_sdk import WebClient

from rollbackd.decisions import Person
from rollbackd.slack.errors import Lacking, translated

log = structlog.get_logger()

REMEMBER_S = 60.0
"""Whoever leaves a group can press for this long."""

T = TypeVar("T")


class Directory:
    """Makes persons of user ids. Thread-safe.

    Args:
        client: with the bot's token; ``users:read.email`` and ``usergroups:read`` tell more.
        now: seconds, steadily growing.
    """

    def __init__(self, client: WebClient, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._known: dict[tuple[str, str], tuple[float, frozenset[str]]] = {}
        self._lock = threading.Lock()

    def person(self, user_id: str, name: str) -> Person:
        """Return a person; Slack vouches for the id, everything else is asked for.

        Raises:
            Transient: Slack does not tell now.
        """
        aliases = self._remembered(("user", user_id), lambda: self._names(user_id))
        return Person(
            name=f"@{name}" if name else user_id,
            via="slack",
            id=user_id,
            aliases=aliases | {name},
            is_member=lambda group: user_id in self._members(group),
        )

    def _names(self, user_id: str) -> frozenset[str]:
        try:
            with translated("user not looked up"):
                user = self._client.users_info(user=user_id)["user"]
        except Lacking as error:
            log.info("users cannot be looked up", error=str(error))
            return frozenset()
        profile = user.get("profile", {})
        found = (user.get("name"), user.get("real_name"), profile.get("email"))
        return frozenset(str(each) for each in found if each)

    def _members(self, group: str) -> frozenset[str]:
        return self._remembered(("group", group), lambda: self._ask_members(group))

    def _ask_members(self, group: str) -> frozenset[str]:
        try:
            with translated("user group not looked up"):
                users = self._client.usergroups_users_list(usergroup=group)["users"]
        except Lacking as error:
            log.warning("user groups cannot be looked up", group=group, error=str(error))
            return frozenset()
        return frozenset(str(user) for user in users)

    def _remembered(
        self, what: tuple[str, str], ask: Callable[[], frozenset[str]]
    ) -> frozenset[str]:
        with self._lock:
            at, found = self._known.get(what, (float("-inf"), frozenset()))
        if self._now() - at < REMEMBER_S:
            return found
        found = ask()
        with self._lock:
            self._known[what] = (self._now(), found)
        return found
