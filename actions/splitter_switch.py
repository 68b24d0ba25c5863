"""Traffic switch for the built-in splitter, the fallback for machines without NGINX.

The splitter reads a JSON file: ``{"admin": "127.0.0.1:9100", "servers": {"127.0.0.1:9001": 1}}``,
the servers with their weights (0: no traffic) and the address at which the splitter itself answers
``GET /-/state`` (what it has loaded), ``POST /-/check`` and ``POST /-/reload``.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict

import requests

from actions.ports import Permanent, Transient
from actions.upstream_file import Servers, UpstreamFile, UpstreamSwitch, digest

ADMIN_TIMEOUT_S = 2.0
"""For one question to the splitter; it is on the same machine."""


class Weights(TypedDict):
    """The content of the file."""

    admin: str
    servers: dict[str, float]


def parse_weights(text: str) -> Weights:
    """Return the file's content.

    Raises:
        ValueError: what is wrong with it, in one sentence.
    """
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    match data:
        case {"admin": str(admin), "servers": dict(servers)} if servers:
            pass
        case _:
            raise ValueError('it needs an address under "admin" and weights under "servers"')
    for address, weight in servers.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 <= weight < float("inf"):
            raise ValueError(f"the weight of {address} is {weight!r}, not a number from 0 up")
    if not any(servers.values()):
        raise ValueError("no server has a weight above 0")
    return Weights(admin=admin, servers=servers)


def format_weights(weights: Weights) -> str:
    """Return the file's content as text, one line a server."""
    return json.dumps(weights, indent=2) + "\n"


class WeightsLayout:
    """The layout of the splitter's file; a server takes traffic when its weight is above 0."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def servers(self, text: str) -> Mapping[str, bool]:
        """Return each server's address, and whether it takes traffic. Raises ValueError."""
        return {address: weight > 0 for address, weight in self._parse(text)["servers"].items()}

    def switched(self, text: str, *, off: Collection[str], on: Collection[str]) -> str:
        """Return the content with weight 0 for what is off and 1 for what is turned on."""
        weights = self._parse(text)
        for address in weights["servers"].keys() & (set(off) | set(on)):
            weights["servers"][address] = 0 if address in off else 1
        return format_weights(weights)

    def _parse(self, text: str) -> Weights:
        try:
            return parse_weights(text)
        except ValueError as error:
            raise ValueError(f"{self._path} is not ours to change: {error}") from error


class SplitterProcess:
    """A running splitter, spoken to at the address that its file names."""

    def __init__(self, file: UpstreamFile) -> None:
        self._file = file

    def require_ready(self) -> None:
        """Raise Transient unless the splitter answers, Permanent when its file may not change."""
        refusal = self._file.refusal()
        if refusal:
            raise Permanent(refusal)
        self._ask("GET", "state")

    def load(self) -> None:
        """Have the splitter check the file, then use it.

        Raises:
            Permanent: the splitter refused the file, in its words. Transient: it did not answer.
        """
        self._ask("POST", "check")
        self._ask("POST", "reload")

    def has_loaded(self) -> bool:
        """Tell whether the splitter's loaded content is the file's. Raises Transient."""
        loaded: object = self._ask("GET", "state").get("sha256")
        return loaded == digest(self._file.read())

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        try:
            admin = parse_weights(self._file.read())["admin"]
        except ValueError as error:
            raise Permanent(f"{self._file.path}: {error}") from error
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment would not reach this splitter
            try:
                answer = session.request(
                    method, f"http://{admin}/-/{path}", timeout=ADMIN_TIMEOUT_S
                )
                body: Any = answer.json()
            except requests.RequestException as error:
                raise Transient(f"the splitter at {admin} does not answer") from error
        if answer.status_code == requests.codes.unprocessable:
            raise Permanent(f"the splitter refused {self._file.path}: {body['error']}")
        if not answer.ok or not isinstance(body, dict):
            raise Transient(f"the splitter at {admin} answered {answer.status_code}")
        return body


class SplitterSwitch(UpstreamSwitch):
    """Takes a canary out of the splitter's rotation; see ``actions.ports.Actuator``.

    Args:
        file: the splitter's file of weights.
        servers: which servers of the file run which side.
        name: the actuator's name in the registry.
        load_timeout_s: how long the splitter may take to use the file.

    Raises:
        ValueError: a server is named on both sides.
    """

    def __init__(
        self,
        *,
        file: Path,
        servers: Servers | None = None,
        name: str = "splitter-switch",
        load_timeout_s: float = 5.0,
    ) -> None:
        weights = UpstreamFile(file)
        super().__init__(
            name=name,
            place="the splitter",
            file=weights,
            layout=WeightsLayout(file),
            proxy=SplitterProcess(weights),
            servers=servers or Servers(),
            load_timeout_s=load_timeout_s,
        )
