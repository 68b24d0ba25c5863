"""What stands before the shop and splits its traffic: NGINX, or the built-in splitter."""

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from actions.nginx_switch import UpstreamBlock
from actions.splitter_switch import Weights, WeightsLayout, format_weights
from actions.upstream_file import UpstreamFile

UPSTREAM = "shop"

NGINX_CONFIG = """\
daemon off;
pid "{directory}/nginx.pid";
error_log "{directory}/nginx-error.log";
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
{temporary}
    include "{upstream_file}";
    server {{
        listen {address};
        location / {{
            proxy_pass http://{upstream};
            proxy_next_upstream off;  # a second try at another server would hide the failure
            proxy_connect_timeout 1s;
            add_header X-Upstream $upstream_addr always;
        }}
    }}
}}
"""


class Front(Protocol):
    """A proxy that splits traffic over servers, as the stage starts it."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def command(self) -> Sequence[str]:
        """The program and arguments that run it."""

    def write(self) -> None:
        """Write its files; the canary gets no traffic yet."""

    def admit_canary(self, pid: int) -> None:
        """Give the canary its share of traffic; ``pid`` is the running proxy."""

    def canary_is_admitted(self) -> bool:
        """Tell whether the canary has a share of traffic now."""

    def action(self) -> Mapping[str, Any]:
        """Return the switch's entry under ``actions:`` in rollbackd.yaml, without its name."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who listens where, as host:port."""

    front: str
    baseline: tuple[str, ...]
    canary: str

    @property
    def servers(self) -> tuple[str, ...]:
        """All servers of the shop."""
        return (*self.baseline, self.canary)


def nginx_program() -> str | None:
    """Return NGINX's path, or None where it is not installed; sbin counts even out of PATH."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class NginxFront:
    """An NGINX of our own, in a directory of its own, on a high port of the loopback interface."""

    name = "NGINX"

    def __init__(self, program: str, directory: Path, addresses: Addresses) -> None:
        self._program = program
        self._directory = directory
        self._addresses = addresses
        self._config = directory / "nginx.conf"
        self._file = UpstreamFile(directory / "shop.conf")
        self._layout = UpstreamBlock(self._file.path, UPSTREAM)

    @property
    def command(self) -> Sequence[str]:
        """Run in the foreground, so that the leash holds the master."""
        return [self._program, "-c", str(self._config)]

    def write(self) -> None:
        """Write both configuration files. ``max_fails=0``: NGINX must not hide a crashing canary."""
        down = {self._addresses.canary: " down"}
        servers = "".join(
            f"    server {s} max_fails=0{down.get(s, '')};\n" for s in self._addresses.servers
        )
        self._file.path.write_text(f"upstream {UPSTREAM} {{\n{servers}}}\n")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(
            f'    {kind}_temp_path "{self._directory}/{kind}";' for kind in kinds
        )
        self._config.write_text(
            NGINX_CONFIG.format(
                directory=self._directory,
                temporary=temporary,
                upstream_file=self._file.path,
                address=self._addresses.front,
                upstream=UPSTREAM,
            )
        )

    def admit_canary(self, pid: int) -> None:
        """Take the canary's ``down`` away and reload, as a deployment would."""
        text = self._layout.switched(self._file.read(), off=(), on={self._addresses.canary})
        self._file.replace(text)
        os.kill(pid, signal.SIGHUP)

    def canary_is_admitted(self) -> bool:
        """Look into the upstream file."""
        return self._layout.servers(self._file.read())[self._addresses.canary]

    def action(self) -> Mapping[str, Any]:
        """Configure the NGINX switch."""
        return {
            "nginx-switch": {
                "upstream_file": str(self._file.path),
                "upstream": UPSTREAM,
                "nginx": self._program,
                "config": str(self._config),
                "baseline_servers": list(self._addresses.baseline),
                "canary_servers": [self._addresses.canary],
            }
        }


class SplitterFront:
    """The built-in splitter."""

    name = "the built-in splitter"

    def __init__(self, directory: Path, addresses: Addresses) -> None:
        self._addresses = addresses
        self._file = UpstreamFile(directory / "weights.json")
        self._layout = WeightsLayout(self._file.path)

    @property
    def command(self) -> Sequence[str]:
        """Run the splitter's module."""
        module = "rollbackd.demo.splitter"
        return [sys.executable, "-m", module, "--file", str(self._file.path)]

    def write(self) -> None:
        """Write the weights."""
        servers = dict.fromkeys(self._addresses.baseline, 1.0) | {self._addresses.canary: 0.0}
        weights = Weights(admin=self._addresses.front, servers=servers)
        self._file.path.write_text(format_weights(weights))

    def admit_canary(self, pid: int) -> None:
        """Give the canary a weight and reload, as a deployment would."""
        text = self._layout.switched(self._file.read(), off=(), on={self._addresses.canary})
        self._file.replace(text)
        os.kill(pid, signal.SIGHUP)

    def canary_is_admitted(self) -> bool:
        """Look into the file of weights."""
        return self._layout.servers(self._file.read())[self._addresses.canary]

    def action(self) -> Mapping[str, Any]:
        """Configure the splitter switch."""
        return {"splitter-switch": {"file": str(self._file.path)}}
