"""A zone at every provider, and secrets that are known again wherever they come out."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import boto3
import requests
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from moto.server import ThreadedMotoServer

from tests.dns.benches import CRD, EU, NAME, RECORDS, ROUTE53_SETS, US, ZONE
from tests.dns.stub_clouds import (
    StrictRoute53,
    StubCloudDns,
    StubCloudflare,
    StubProvider,
    reply,
)
from tests.fakes.kube_api import FakeKubeApi
from tests.servers.nameservers import KEY_NAME, KEY_SECRET, Bind
from tests.sources.stub_server import Answer, Request

Json = dict[str, Any]
CLOUDFLARE = "cf-sesame/Öffne+dich="
KUBERNETES = "k8s-sesame-bearer"
GOOGLE = "ya29.sesame-of-google"
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIASESAMEOFAMAZON",
    "AWS_SECRET_ACCESS_KEY": "aws/sesame+of/amazon",
    "AWS_SESSION_TOKEN": "aws-session-sesame//==",
}


class GoogleTokens(StubProvider):
    """Where a service account's key is changed for a token."""

    def handle(self, _: Request) -> Answer:
        return reply({"access_token": GOOGLE, "expires_in": 3600, "token_type": "Bearer"})


class Passing(StubProvider):
    """Stands before a cluster, and asks for its token."""

    def __init__(self, to: str) -> None:
        super().__init__()
        self._to = to

    def handle(self, request: Request) -> Answer:
        given = {k.lower(): v for k, v in request.headers.items()}.get("authorization")
        if given != f"Bearer {KUBERNETES}":
            return reply({"kind": "Status", "message": "Unauthorized", "code": 401}, 401)
        kept = ("accept", "content-type")
        headers = {k: v for k, v in request.headers.items() if k.lower() in kept}
        url = f"{self._to}{request.path}"
        passed = requests.request(
            request.method, url, data=request.body, headers=headers, timeout=30
        )
        return Answer(passed.content, passed.status_code, {"Content-Type": "application/json"})


@dataclass
class Everywhere:
    """The record at every provider.

    ``dns``: the backends, as in a configuration. ``behind``: what answers for a backend over HTTP.
    ``more``: what else the configuration needs. ``secrets``: what must come out nowhere.
    """

    dns: list[Json]
    behind: Mapping[str, tuple[StubProvider, ...]]
    bind: Bind
    more: Json
    secrets: frozenset[str]

    def leaked(self, text: str) -> list[str]:
        """Return the secrets that a text holds, in any form that people or programs write."""
        found = []
        for secret in self.secrets:
            encoded = secret.encode()
            forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
            forms |= {repr(secret)[1:-1], json.dumps(secret)[1:-1], encoded.hex()}
            forms |= {base64.b64encode(encoded).decode(), encoded.decode("latin-1")}
            found += [secret for form in forms if form in text]
        return found


@contextmanager
def everywhere(folder: Path, environ: dict[str, str]) -> Iterator[Everywhere]:
    """Run every provider; put its secrets into files of the folder, and into the environment."""
    pem, lines = _private_key()
    environ |= {**AWS, "OCTODNS_SECRET": KEY_SECRET}
    (folder / "tsig").write_text(f"{KEY_SECRET}\n")
    (folder / "cloudflare").write_text(CLOUDFLARE)
    with ExitStack() as stack:
        bind = stack.enter_context(Bind(folder / "bind", ZONE, RECORDS))
        google, tokens = StubCloudDns(_rrset()), GoogleTokens()
        cloudflare = StubCloudflare(_records(), [], CLOUDFLARE)
        api = stack.enter_context(FakeKubeApi())
        cluster = Passing(api.url)
        amazon, zone_id = _route53(stack)
        for stub in (google, tokens, cloudflare, cluster, amazon):
            stack.enter_context(stub.http)
        api.create(CRD)
        api.create(_endpoint())
        (folder / "google.json").write_text(json.dumps(_account(pem, tokens.http.url)))
        (folder / "kubeconfig").write_text(yaml.safe_dump(_kubeconfig(cluster.http.url)))
        where = f"{bind.server.address}:{bind.server.port}"
        timeout = {"timeout": "500ms"}
        update = {"zone": ZONE, "server": where, "key_name": KEY_NAME, "secret_file": "tsig"}
        octodns = {
            "host": bind.server.address,
            "port": bind.server.port,
            "timeout": 1,
            "key_name": KEY_NAME,
            "key_secret": "env/OCTODNS_SECRET",
        }
        providers: Json = {
            "rfc2136": {**update, **timeout},
            "route53": {
                "zone_id": zone_id, "zone": ZONE, "endpoint": amazon.http.url, **timeout,
            },
            "cloud_dns": {
                "project": "shop",
                "managed_zone": "main",
                "zone": ZONE,
                "credentials_file": "google.json",
                "endpoint": google.http.url,
                **timeout,
            },
            "cloudflare": {
                "zone_id": "z1",
                "zone": ZONE,
                "secret_file": "cloudflare",
                "endpoint": cloudflare.http.url,
                **timeout,
            },
            "external_dns": {"namespace": "default", "endpoint": "shop", "zone": ZONE},
            "octodns": {
                "zone": ZONE, "provider": "octodns_bind.Rfc2136Provider", "arguments": octodns,
            },
        }  # fmt: skip
        yield Everywhere(
            dns=[
                {"name": name.replace("_", "-"), name: said, "nameservers": [where]}
                for name, said in providers.items()
            ],
            behind={
                "route53": (amazon,),
                "cloud-dns": (google, tokens),
                "cloudflare": (cloudflare,),
                "external-dns": (cluster,),
            },
            bind=bind,
            more={"rollouts": {"kubernetes": {"kubeconfig": "kubeconfig"}}},
            secrets=frozenset(
                {KEY_SECRET, base64.b64decode(KEY_SECRET).decode(), CLOUDFLARE, KUBERNETES}
                | {GOOGLE, *lines, *AWS.values()}
            ),
        )


def echo(status: int) -> Any:  # noqa: ANN401  what StubProvider takes as trouble
    """Return a provider that repeats in its refusal whatever it was sent."""

    def answer(request: Request) -> Answer:
        sent = f"{request.path} {request.headers} {request.body.decode(errors='replace')}"
        if request.path.startswith("/2013-04-01"):  # Route 53's
            sent = sent.replace("&", "and").replace("<", "[")
            body = (
                "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>"
                f"<Message>The Canonical String was {sent}</Message></Error></ErrorResponse>"
            )
            return Answer(body.encode(), status, {"Content-Type": "text/xml"})
        told = {"message": sent, "error": {"message": sent}, "errors": [{"message": sent}]}
        return reply({"kind": "Status", "code": status, **told}, status)

    return answer


def _private_key() -> tuple[str, list[str]]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return pem, pem.splitlines()[1:-1]


def _account(pem: str, url: str) -> Json:
    return {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "rollbackd@shop.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }


def _kubeconfig(url: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": KUBERNETES}}],
    }


def _rrset() -> Json:
    return {"name": f"{NAME}.", "type": "A", "ttl": 60, "rrdatas": [EU, US]}


def _records() -> list[Json]:
    common = {"name": NAME, "type": "A", "ttl": 60, "proxied": False}
    return [{"id": f"r{i}", "content": value, **common} for i, value in enumerate((EU, US))]


def _endpoint() -> Json:
    return {
        "apiVersion": "externaldns.k8s.io/v1alpha1",
        "kind": "DNSEndpoint",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "endpoints": [
                {"dnsName": NAME, "recordType": "A", "recordTTL": 60, "targets": [EU, US]}
            ]
        },
    }


def _route53(stack: ExitStack) -> tuple[StrictRoute53, str]:
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    stack.callback(moto.stop)
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    requests.post(f"{url}/moto-api/reset", timeout=30)
    client = boto3.client(
        "route53",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    stack.callback(client.close)
    zone = client.create_hosted_zone(Name=ZONE, CallerReference="tests")
    zone_id = zone["HostedZone"]["Id"].rsplit("/", 1)[-1]
    sets = [{"Name": f"{NAME}.", "Type": "A", **each} for each in ROUTE53_SETS["simple"]]
    client.change_resource_record_sets(
        HostedZoneId=zone_id,
        ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": s} for s in sets]},
    )
    return StrictRoute53(url), zone_id
