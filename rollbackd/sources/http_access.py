"""With whose credentials, and over which TLS, a source speaks HTTP."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from analyzer.sample import Absence
from rollbackd.sources.http_reply import Trouble


class PromptAdapter(HTTPAdapter):
    """Closes its connections on ``close``, not when the garbage collector comes by."""

    def close(self) -> None:
        """Close all pools; an exception somewhere may hold on to one and to its connections."""
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118  urllib3's container refuses to be iterated
            pools[key].close()
        super().close()


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User name and password; the password never shows in ``repr``."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """How to be let in.

    Proxies, ``.netrc`` and CA bundles of the environment are ignored on purpose: what the daemon
    talks to, and as whom, is in its configuration only.

    Attributes:
        headers: sent with every request, such as ``("X-Scope-OrgID", "team-a")`` for Mimir.
        bearer_token_file: read for every request, because Kubernetes rotates it.
        basic_auth: instead of the token.
        ca_file: CA bundle that replaces the system's. verify_tls: False trusts any certificate.
        cert_file, key_file: our certificate for mTLS; read again for every new connection.
        proxy_url: an HTTP proxy for both schemes.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    bearer_token_file: Path | None = None
    basic_auth: BasicAuth | None = None
    ca_file: Path | None = None
    verify_tls: bool = True
    cert_file: Path | None = None
    key_file: Path | None = None
    proxy_url: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse combinations that contradict themselves."""
        if self.bearer_token_file and self.basic_auth:
            raise ValueError("give either a bearer token file or basic auth, not both")
        if self.key_file and not self.cert_file:
            raise ValueError("a key file needs a certificate file")

    def open_session(self) -> requests.Session:
        """Return a session that presents these credentials; the caller closes it."""
        session = requests.Session()
        session.trust_env = False
        session.headers.update(dict(self.headers))
        session.verify = str(self.ca_file) if self.ca_file and self.verify_tls else self.verify_tls
        if self.cert_file and self.key_file:
            session.cert = (str(self.cert_file), str(self.key_file))
        elif self.cert_file:
            session.cert = str(self.cert_file)
        if self.proxy_url:
            session.proxies = {"http": self.proxy_url, "https": self.proxy_url}
        if self.bearer_token_file:
            session.auth = _TokenFile(self.bearer_token_file)
        elif self.basic_auth:
            session.auth = HTTPBasicAuth(
                self.basic_auth.username.encode(), self.basic_auth.password.encode()
            )
        return session


def refuse_bad_url(url: str) -> None:
    """Refuse addresses we cannot use, or would have to print with a password in them.

    Raises:
        ValueError: not an absolute http(s) URL, or one with user information or a query.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"expected an address like http://prometheus:9090, not {url!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"the address of {parts.hostname} contains a user or a password: "
            "give them as basic auth, addresses are logged"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"the address {url!r} must end before any '?' or '#'")


@dataclass(frozen=True, slots=True)
class _TokenFile(AuthBase):
    """Bearer authentication with a token that may be replaced at any time."""

    path: Path

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token as it is now.

        Raises:
            Trouble: ``UNAUTHORISED`` when there is no token to present.
        """
        try:
            token = self.path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Trouble(
                Absence.UNAUTHORISED, f"the bearer token file cannot be read: {error}"
            ) from error
        if not token or not token.isascii() or not token.isprintable():
            raise Trouble(Absence.UNAUTHORISED, f"the bearer token file {self.path} has no token")
        request.headers["Authorization"] = f"Bearer {token}"
        return request
