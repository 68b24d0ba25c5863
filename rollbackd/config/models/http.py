"""``http:`` where the daemon answers, and who may decide there."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from rollbackd.config import settings
from rollbackd.config.models.base import Address, Model, Text, host_and_port, secret
from rollbackd.config.quantities import fault, shown


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise fault(f"{shown(text)} is no network: {error}", "such as 10.0.0.0/8") from error
    return text


class ProxyModel(Model):
    """A proxy such as oauth2-proxy that signs people in and says who they are in headers."""

    user_header: Text = "X-Forwarded-User"
    """Header with the user's id; policies name it under deciders.users."""
    groups_header: Text = "X-Forwarded-Groups"
    """Header with the user's groups, separated by commas; policies name them as deciders.groups."""
    networks: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(min_length=1)]
    """Where the proxy's requests come from. The headers count from there only: anybody can write
    them. Whoever else runs in these networks can pretend to be anybody, so name them narrowly."""

    def settings(self) -> settings.TrustedProxy:
        """Return the frozen settings."""
        networks = tuple(ip_network(text) for text in self.networks)
        return settings.TrustedProxy(self.user_header, self.groups_header, networks)


class ClusterLoginModel(Model):
    """Tokens of the cluster let people decide: who, TokenReview tells; what, SubjectAccessReview."""

    verb: Text = "decide"
    """Verb of the right that it takes, in the namespace of the workload and for its name."""
    resource: Text = "rollouts.rollbackd.io"
    """Its resource, as plural.group. It need not exist: a Role may name any. With verb: patch and
    resource: deployments.apps, whoever may change Deployments may decide."""
    audiences: tuple[Text, ...] = ()
    """Take only tokens made for one of these (kubectl create token --audience). Without, tokens made
    for the API server are taken: then whoever reads them on the way to us can use them there."""

    def settings(self) -> settings.ClusterLogin:
        """Return the frozen settings."""
        return settings.ClusterLogin(self.verb, self.resource, self.audiences)


class HttpModel(Model):
    """The daemon's HTTP server: API, /metrics, /healthz, /readyz."""

    listen: Address = "127.0.0.1:9469"
    """host:port to listen on. Anybody who reaches it can read; 0.0.0.0 means everybody."""
    token_file: Text | None = None
    """File with the bearer token that approving or rejecting a plan over HTTP asks for."""
    token_env: Text | None = None
    """Environment variable with that token. Without a token nobody can decide over HTTP."""

    proxy: ProxyModel | None = None
    """A proxy in front that signs people in."""
    kubernetes: ClusterLoginModel | None = None
    """People sign in with their tokens of the cluster. Needs rollouts.kubernetes."""

    @field_validator("token_env")
    @classmethod
    def _one_token(cls, env: str | None, info: ValidationInfo) -> str | None:
        if env is not None and info.data.get("token_file") is not None:
            raise fault("there is token_file, too", "keep one of the two")
        return env

    def settings(self, base: Path) -> settings.HttpSettings:
        """Return the frozen settings."""
        token = secret(base, self.token_file, self.token_env)
        proxy = self.proxy.settings() if self.proxy is not None else None
        login = self.kubernetes.settings() if self.kubernetes is not None else None
        return settings.HttpSettings(*host_and_port(self.listen), token, proxy, login)
