"""Who a Slack user is: names, address, groups. Asked of Slack, remembered for a short time."""

import threading
from collections.abc import Callable

import structlog
from slack_sdk import WebClient

from rollbackd.decisions import Person
from rollbackd.slack.errors import Lacking, translated

log = structlog.get_logger()

REMEMBER_S = 60.0
"""Whoever leaves a group can press for this long."""


class Directory:
    """Makes persons of user ids. Thread-safe.

    Args:
        client: with the bot's token; ``users:read.email`` and ``usergroups:read`` tell more.
        now: seconds, steadily growing.
    """

    def __init__(self, client: WebClient, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._known: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def person(self, user_id: str, name: str) -> Person:
        """Return a person; Slack vouches for the id, everything else is asked for.

        Raises:
            Transient: Slack does not tell now.
        """
        profile = self._remembered(("user", user_id), lambda: self._profile(user_id))
        return Person(
            name=f"@{name}" if name else user_id,
            via="slack",
            id=user_id,
            # Slack makes sure that an address is theirs; their names people choose
            addresses=profile[:1],
            aliases=(name, *profile[1:]),
            is_member=lambda group: user_id in self._members(group),
        )

    def _profile(self, user_id: str) -> tuple[str, ...]:
        """Return a user's address, which may be "", and names."""
        try:
            with translated("user not looked up"):
                user = self._client.users_info(user=user_id)["user"]
        except Lacking as error:
            log.info("users cannot be looked up", error=str(error))
            return ()
        address = user.get("profile", {}).get("email")
        if user.get("team_id") not in self._remembered(("team", ""), self._own_team):
            address = ""  # in a shared channel: another organisation says whose address it is
        told = (address, user.get("name"), user.get("real_name"))
        return tuple(str(each or "") for each in told)

    def _own_team(self) -> tuple[str, ...]:
        with translated("own workspace not looked up"):
            return (str(self._client.auth_test()["team_id"]),)

    def _members(self, group: str) -> tuple[str, ...]:
        return self._remembered(("group", group), lambda: self._ask_members(group))

    def _ask_members(self, group: str) -> tuple[str, ...]:
        try:
            with translated("user group not looked up"):
                users = self._client.usergroups_users_list(usergroup=group)["users"]
        except Lacking as error:
            log.warning("user groups cannot be looked up", group=group, error=str(error))
            return ()
        return tuple(str(user) for user in users)

    def _remembered(
        self, what: tuple[str, str], ask: Callable[[], tuple[str, ...]]
    ) -> tuple[str, ...]:
        with self._lock:
            at, found = self._known.get(what, (float("-inf"), ()))
        if self._now() - at < REMEMBER_S:
            return found
        found = ask()
        with self._lock:
            self._known[what] = (self._now(), found)
        return found
