"""Who is asking: by a session begun with the token, by a trusted proxy's word, or by the cluster's.

Whoever is nobody may read. Writing asks for a person, and for a request that our own page made: a
browser tells where a request comes from (Fetch Metadata, Origin), and one that comes from elsewhere is
refused, whatever cookies it carries.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog

from actions.ports import Transient
from rollbackd.config.secrets import SecretError
from rollbackd.config.settings import TrustedProxy
from rollbackd.decisions import Person
from rollbackd.web import vouching

log = structlog.get_logger()

SESSION = "rollbackd-session"
SESSION_S = 12 * 3600
"""A shift, and the night after it asks again."""
CLUSTER_TOKEN = "rollbackd-cluster-token"  # noqa: S105  the cookie's name
"""Holds a person's own token of the cluster: good on every replica, and as long as it is itself."""
MAX_NAME = 200

ClusterWord = Callable[[str, str], Person | None]
"""Returns whose token of the cluster this is, and via where; raises Transient."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page: somebody, or nobody, who may only read.

    ``trouble`` says why it cannot be told now who it is; ``can_leave``: signed in here.
    """

    person: Person | None = None
    trouble: str = ""
    can_leave: bool = False


NOBODY = Visitor()


@dataclass(frozen=True, slots=True)
class Visitors:
    """Tells who is asking.

    Attributes:
        token: reads the secret that lets people sign in; None when nobody can. May raise
            SecretError.
        proxies: those that vouch for people.
        cluster: knows people by their tokens of the cluster, or None.
    """

    token: Callable[[], str] | None
    proxies: Sequence[TrustedProxy] = ()
    cluster: ClusterWord | None = None

    @property
    def can_sign_in(self) -> bool:
        """Whether there is any token to sign in with."""
        return self.token is not None or self.cluster is not None

    def visitor(
        self, headers: Mapping[str, str], cookies: Mapping[str, str], client: str, now: float
    ) -> Visitor:
        """Return who is asking. The cluster may be asked, so it may take a while."""
        try:
            for proxy in self.proxies:
                person = vouched_for(proxy, headers, client)
                if person is not None:
                    return Visitor(person)
            person = self._vouched_by_a_replica(headers, now)
            if person is not None:
                return Visitor(person)
            person = self._signed_in(cookies.get(SESSION, ""), now)
            token = cookies.get(CLUSTER_TOKEN, "")
            if person is None and token and self.cluster is not None:
                person = self.cluster(token, "web")
        except SecretError as error:
            log.warning("token not readable", error=str(error))
            return Visitor(trouble="the daemon cannot read its token now")
        except Transient as error:
            return Visitor(trouble=str(error))
        return Visitor(person, can_leave=person is not None)

    def sign_in(self, token: str, name: str, now: float) -> tuple[str, str] | None:
        """Return the cookie of a person who knows a token, its name and value, or None.

        Raises:
            SecretError: the daemon's own token cannot be read now.
            Transient: the cluster cannot be asked now.
        """
        session = self._session(token, name, now)
        if session is not None:
            return SESSION, session
        if self.cluster is not None and self.cluster(token.strip(), "web") is not None:
            return CLUSTER_TOKEN, token.strip()
        return None

    def _session(self, token: str, name: str, now: float) -> str | None:
        """Return the session of a person who knows the daemon's token, or None.

        The session is signed with the token itself: it outlives a restart, is good on every replica,
        and ends when the token is changed.
        """
        name = name.strip()
        if self.token is None or not name or len(name) > MAX_NAME:
            return None
        if not hmac.compare_digest(token.strip().encode(), self.token().encode()):
            return None
        until = str(int(now) + SESSION_S)
        shown = base64.urlsafe_b64encode(name.encode()).decode()
        return f"{shown}.{until}.{self._signature(shown, until)}"

    def _signed_in(self, session: str, now: float) -> Person | None:
        shown, _, rest = session.partition(".")
        until, _, signature = rest.partition(".")
        if self.token is None or not signature or not until.isdecimal() or int(until) < now:
            return None
        expected = self._signature(shown, until)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return None
        try:
            name = base64.urlsafe_b64decode(shown).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return Person(name, "web", name, trusted=True)

    def _vouched_by_a_replica(self, headers: Mapping[str, str], now: float) -> Person | None:
        """Return whom another replica vouches for: a proxy of ours told it who this is."""
        value = headers.get(vouching.HEADER, "")
        if not value or self.token is None or not self.proxies:
            return None
        word = vouching.vouched(value, now, self.token())
        return None if word is None else _person(*word)

    def _signature(self, shown: str, until: str) -> str:
        key = self.token().encode() if self.token is not None else b""
        return hmac.new(key, f"session.{shown}.{until}".encode(), sha256).hexdigest()


def vouched_for(proxy: TrustedProxy, headers: Mapping[str, str], client: str) -> Person | None:
    """Return whom a proxy vouches for, or None."""
    word = word_of(proxy, headers, client)
    return None if word is None else _person(*word)


def word_of(
    proxy: TrustedProxy, headers: Mapping[str, str], client: str
) -> tuple[str, frozenset[str]] | None:
    """Return the name and the groups that a proxy gives, or None: it gives none, or is not one."""
    name = headers.get(proxy.user_header, "").strip()
    if not name or len(name) > MAX_NAME or not _comes_from(proxy, client):
        return None
    text = headers.get(proxy.groups_header, "") if proxy.groups_header else ""
    return name, frozenset(filter(None, (group.strip() for group in text.split(","))))


def _person(name: str, groups: frozenset[str]) -> Person:
    return Person(name, "web", name, is_member=groups.__contains__)


def _comes_from(proxy: TrustedProxy, client: str) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in proxy.networks)


def is_ours(headers: Mapping[str, str]) -> bool:
    """Tell whether a request that would change something was made by our own page.

    Browsers that know Fetch Metadata say so themselves; for others the Origin must be this host.
    A request that says neither is no browser's form, and is refused, too.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == headers.get("host", "")
