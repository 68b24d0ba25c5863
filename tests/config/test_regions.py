from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzer.policy import Mode
from rollbackd.config import ConfigError, load
from rollbackd.config.region_settings import (
    CloudDnsSettings,
    CloudflareSettings,
    ExternalDnsSettings,
    Rfc2136Settings,
    Route53Settings,
)
from tests.config.files import minimal, write

Values = dict[str, Any]


def regions() -> Values:
    signal = {"name": "errors", "ratio": {"total": "all_total", "bad": "bad_total"}}
    rfc2136 = {
        "zone": "example.com",
        "server": "192.0.2.53:53",
        "key_name": "k",
        "secret_file": "key",
    }
    return {
        "signals": [signal],
        "dns": [{"name": "main", "rfc2136": rfc2136}],
        "records": [
            {
                "name": "www.example.com",
                "dns": "main",
                "regions": {"eu": ["192.0.2.1"], "us": ["192.0.2.2"]},
            }
        ],
        "members": [
            {"name": n, "prometheus": {"url": f"http://{n}:9090"}, "assume_capacity": True}
            for n in ("eu", "us")
        ],
    }


def loaded(tmp_path: Path, values: Values) -> Any:  # noqa: ANN401  optional in Config
    return load(write(tmp_path, minimal() | {"regions": values})).regions


def test_regions_begin_harmless_and_secrets_stay_where_they_are(tmp_path: Path) -> None:
    found = loaded(tmp_path, regions())
    assert found.moves.mode is Mode.OBSERVE
    assert found.steps == (0.5, 1.0)
    assert isinstance(found.dns[0].provider, Rfc2136Settings)
    assert found.secrets()["regions.dns[0]"].file == tmp_path / "key"
    assert [m.name for m in found.members] == ["eu", "us"]


@pytest.mark.parametrize(
    ("provider", "kind"),
    [
        ({"route53": {"zone_id": "Z1", "zone": "example.com"}}, Route53Settings),
        (
            {"cloud_dns": {"project": "p", "managed_zone": "z", "zone": "example.com"}},
            CloudDnsSettings,
        ),
        (
            {"cloudflare": {"zone_id": "z", "zone": "example.com", "secret_env": "T"}},
            CloudflareSettings,
        ),
        (
            {"external_dns": {"namespace": "n", "endpoint": "e", "zone": "example.com"}},
            ExternalDnsSettings,
        ),
    ],
)
def test_every_provider_can_be_configured(
    tmp_path: Path, provider: Values, kind: type[object]
) -> None:
    values = regions() | {"dns": [{"name": "main", **provider}]}
    assert isinstance(loaded(tmp_path, values).dns[0].provider, kind)


@pytest.mark.parametrize("resource", ["services", "ingresses"])
def test_external_dns_reads_annotations_as_it_is_told(tmp_path: Path, resource: str) -> None:
    said = {"namespace": "n", resource: ["eu", "us"], "zone": "example.com"}
    newer = {"annotation_prefix": "external-dns.kubernetes.io/", "interval": "30s"}
    values = regions() | {"dns": [{"name": "main", "external_dns": said | newer}]}
    found = loaded(tmp_path, values).dns[0].provider
    assert (found.resource, found.objects) == (resource, ("eu", "us"))
    assert (found.annotation_prefix, found.interval_s) == ("external-dns.kubernetes.io", 30.0)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({}, "exactly one of endpoint, services and ingresses"),
        ({"endpoint": "e", "services": ["s"]}, "exactly one of endpoint, services and ingresses"),
        ({"ingresses": ["i", "i"]}, '"i" is named twice'),
    ],
)
def test_external_dns_has_objects_of_one_kind(tmp_path: Path, said: Values, says: str) -> None:
    backend = {"name": "main", "external_dns": {"namespace": "n", "zone": "example.com", **said}}
    with pytest.raises(ConfigError, match=says):
        loaded(tmp_path, regions() | {"dns": [backend]})


def octodns(provider: str = "octodns_desec.DesecProvider", **arguments: object) -> Values:
    said = {"zone": "example.com", "provider": provider, "arguments": arguments}
    return regions() | {"dns": [{"name": "main", "octodns": said}]}


def test_octodns_has_its_credentials_from_elsewhere(tmp_path: Path) -> None:
    values = octodns(token="env/DESEC", password="file/secret", retries=3, url="https://x/y")
    found = loaded(tmp_path, values)
    provider = found.dns[0].provider
    assert (provider.provider, provider.arguments["retries"]) == (
        "octodns_desec.DesecProvider",
        3,
    )
    assert provider.arguments["url"] == "https://x/y"
    secrets = found.secrets()
    assert secrets["regions.dns[0].octodns.arguments.token"].env == "DESEC"
    assert secrets["regions.dns[0].octodns.arguments.password"].file == tmp_path / "secret"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (octodns(token="plain text"), "token is a credential"),
        (octodns(key_secret="QUJD"), "key_secret is a credential"),
        (octodns(token="env/"), "token names nothing"),
        (octodns("octodns_route53.Route53Provider"), "use route53 instead of Route53Provider"),
        (octodns("octodns_cloudflare.provider.CloudflareProvider"), "use cloudflare instead"),
        (octodns("DesecProvider"), "is no class"),
        (octodns("octodns desec.X"), "is no class"),
    ],
)
def test_octodns_is_no_way_round(tmp_path: Path, values: Values, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        loaded(tmp_path, values)
    assert "plain text" not in str(error.value)
    assert "QUJD" not in str(error.value)


def _set(*path: str | int, to: object) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        target: Any = values
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("records", 0, "name", to="www.other.com"), "not in the zone"),
        (_set("records", 0, "type", to="MX"), "records[0].type"),
        (_set("records", 0, "dns", to="other"), "nothing under dns is called"),
        (_set("records", 0, "regions", "us", to=["192.0.2.1"]), "stands for two regions"),
        (_set("records", 0, "regions", "ap", to=["192.0.2.3"]), "do not name the same regions"),
        (_set("members", 1, "name", to="eu"), "two regions are called"),
        (_set("members", 1, "assume_capacity", to=False), "load and capacity"),
        (_set("steps", to=["50%", "20%"]), "must rise"),
        (_set("steps", to=["50%"]), "must rise"),
        (_set("dns", 0, "rfc2136", "secret_env", to="KEY"), "exactly one of secret_file"),
        (_set("dns", 0, "rfc2136", "algorithm", to="hmac-md5"), "algorithm"),
        (_set("dns", 0, "route53", to={"zone_id": "Z", "zone": "a"}), "exactly one of rfc2136"),
        (_set("signals", 0, "id_labels", to=["pod"]), "regions.id_labels"),
        (_set("signals", 0, "level", to={"values": "x"}), "exactly one of ratio"),
        (_set("min_healthy", to=0), "min_healthy"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, change: Callable[[Values], None], says: str
) -> None:
    values = regions()
    change(values)
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, values)
    told = "\n".join(f"{p.path}: {p.what} {p.hint}" for p in error.value.problems)
    assert says in told


def test_an_apex_cannot_be_a_cname(tmp_path: Path) -> None:
    values = regions()
    values["records"][0] |= {
        "name": "example.com",
        "type": "CNAME",
        "regions": {"eu": ["eu.example.com"], "us": ["us.example.com"]},
    }
    with pytest.raises(ConfigError, match="apex"):
        loaded(tmp_path, values)
