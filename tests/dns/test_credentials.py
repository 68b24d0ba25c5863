"""No secret comes out of a backend, whatever its provider answers: errors, causes, tracebacks."""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import pytest

from actions.dns.ports import DnsBackend
from actions.ports import ActionError, Permanent, Transient
from rollbackd.config import load
from rollbackd.regions.wiring import dns_backends
from tests.config.files import minimal, write
from tests.config.test_regions import regions
from tests.dns.benches import EU, NAME, US, changed
from tests.dns.credentials import Everywhere, echo, everywhere
from tests.dns.stub_clouds import TROUBLES

pytestmark = pytest.mark.servers
OVER_HTTP = ("route53", "cloud-dns", "cloudflare", "external-dns")
ALL = ("rfc2136", *OVER_HTTP, "octodns")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everywhere]:
    environ: dict[str, str] = {}
    with (
        everywhere(tmp_path_factory.mktemp("everywhere"), environ) as made,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environ.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture
def backends(
    world: Everywhere, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, DnsBackend]]:
    folder = next(iter(tmp_path_factory.getbasetemp().glob("everywhere*")))
    records = [
        {"name": NAME, "dns": dns["name"], "regions": {"eu": [EU], "us": [US]}}
        for dns in world.dns
    ]
    values = minimal() | world.more
    values["regions"] = regions() | {"dns": world.dns, "records": records}
    config = load(write(folder, values))
    assert config.regions is not None
    with ExitStack() as stack:
        yield dns_backends(config, config.regions, stack)


def told(do: Callable[[], object]) -> str:
    """Return everything that people could see of an error: its words, and those it came from."""
    try:
        return repr(do())
    except ActionError as error:
        return "".join([str(error), repr(error), *traceback.format_exception(error)])


def everything(backend: DnsBackend) -> str:
    """Look, write and ask; return all that is told."""
    parts = [told(lambda: backend.read(NAME, "A"))]
    try:
        old = backend.read(NAME, "A")
    except ActionError:
        return "\n".join(parts)
    new = changed(old)
    parts.append(told(lambda: backend.swap(old, new)))
    parts.append(told(lambda: backend.propagation(new)))
    parts.append(told(lambda: backend.swap(old, new)))
    parts.append(told(lambda: backend.swap(new, old)))
    return "\n".join(parts)


@pytest.mark.parametrize("name", ALL)
def test_what_works_tells_no_secret(
    world: Everywhere, backends: Mapping[str, DnsBackend], name: str
) -> None:
    text = everything(backends[name])
    assert "Conflict" in text  # the second swap was stale: everything before it worked
    assert world.leaked(text) == []


HTTP = {
    "401": echo(401),
    "403": echo(403),
    "429": echo(429),
    "500": echo(500),
    "200": echo(200),
    "gone": TROUBLES["gone"],
    "slow": TROUBLES["slow"],
    "no JSON": TROUBLES["no JSON"],
}


@pytest.mark.parametrize("trouble", HTTP)
@pytest.mark.parametrize("name", OVER_HTTP)
def test_what_a_provider_repeats_is_not_told(
    world: Everywhere, backends: Mapping[str, DnsBackend], name: str, trouble: str
) -> None:
    for stub in world.behind[name]:
        old = backends[name].read(NAME, "A")
        assert old.answers == {EU, US}
        stub.trouble = HTTP[trouble]
        kind = Permanent if trouble in {"401", "403"} else Transient
        try:
            if stub is world.behind[name][0]:
                with pytest.raises(kind):
                    backends[name].read(NAME, "A")
            text = told(lambda: backends[name].read(NAME, "A"))
            text += told(partial(backends[name].swap, old, changed(old)))
        finally:
            stub.trouble = None
        assert world.leaked(text) == []
        now = backends[name].read(NAME, "A")
        assert now in {old, changed(old)}
        if now != old:  # nobody asked for a new token meanwhile
            backends[name].swap(now, old)


@pytest.mark.parametrize("name", ["rfc2136", "octodns"])
def test_wrong_keys_and_silence_tell_no_secret(
    world: Everywhere, backends: Mapping[str, DnsBackend], name: str
) -> None:
    world.bind.stop()
    try:
        text = told(lambda: backends[name].read(NAME, "A"))
    finally:
        world.bind.start()
    assert "Transient" in text
    assert world.leaked(text) == []
