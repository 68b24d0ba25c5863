"""Real authoritative name servers on loopback: BIND and PowerDNS take updates, Knot copies."""

import base64
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.query

from actions.dns.authority import Nameserver, values_in
from tests.servers.nginx import free_port

START_WITHIN_S = 30.0
POLL_S = 0.05
ASK_TIMEOUT_S = 0.5
_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
"""Of Debian's package of PowerDNS' backend."""
KEY_NAME = "rollbackd"
KEY_SECRET = base64.b64encode(b"a secret of thirty-two bytes ...").decode()


class NameServer:
    """A name server process; use it as a context manager. ``stop`` and ``start`` keep its data."""

    program = ""

    def __init__(self, folder: Path, name: str, zone: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._zone = zone
        self.server = Nameserver(name, "127.0.0.1", free_port())
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it and return once it answers for its zone."""
        assert shutil.which(self.program), f"{self.program} is missing: make servers installs it"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=subprocess.STDOUT, cwd=self._folder
            )
        deadline = time.monotonic() + START_WITHIN_S
        while not self.ask(self._zone, "SOA"):
            assert self._process.poll() is None, f"{self.program} ended: {self.log}"
            assert time.monotonic() < deadline, f"{self.program} does not answer: {self.log}"
            time.sleep(POLL_S)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=START_WITHIN_S)
            self._process = None

    def ask(self, name: str, type_: str) -> frozenset[str]:
        """Return the values that it answers, as any resolver sees them."""
        question = dns.message.make_query(name, type_)
        try:
            answer = dns.query.udp(
                question, self.server.address, timeout=ASK_TIMEOUT_S, port=self.server.port
            )
        except (dns.exception.DNSException, OSError):
            return frozenset()
        return values_in(answer, type_)


class Bind(NameServer):
    """A primary that takes updates signed with ``KEY_NAME``, and tells its secondaries."""

    program = "named"

    def __init__(
        self,
        folder: Path,
        zone: str,
        records: Sequence[str],
        secondaries: Sequence[Nameserver] = (),
    ) -> None:
        super().__init__(folder, "bind", zone)
        notify = "".join(f"{s.address} port {s.port}; " for s in secondaries)
        (folder / "zone").write_text(
            f"$ORIGIN {zone}.\n$TTL 60\n"
            "@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
            + "".join(f"{line}\n" for line in records)
        )
        (folder / "named.conf").write_text(
            f'key "{KEY_NAME}" {{ algorithm hmac-sha256; secret "{KEY_SECRET}"; }};\n'
            'key "powerless" { algorithm hmac-sha256; '
            f'secret "{KEY_SECRET}"; }};\n'
            "controls {};\n"
            f'options {{ directory "{folder}"; pid-file "named.pid"; '
            'session-keyfile "session.key"; recursion no; dnssec-validation no; '
            f"listen-on port {self.server.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; "
            "allow-transfer { 127.0.0.1; }; notify explicit; notify-delay 0; "
            f"also-notify {{ {notify}}}; }};\n"
            f'zone "{zone}" {{ type primary; file "zone"; '
            f'allow-update {{ key "{KEY_NAME}"; }}; }};\n'
        )

    def command(self) -> Sequence[str]:
        return ("named", "-g", "-n", "1", "-c", str(self._folder / "named.conf"))


class PowerDns(NameServer):
    """PowerDNS on SQLite: a primary that takes updates signed with ``KEY_NAME``, or a secondary.

    It answers what it holds now: its caches are off, as they keep an old answer for seconds.
    """

    program = "pdns_server"

    def __init__(self, folder: Path, zone: str, records: Sequence[str] = ()) -> None:
        super().__init__(folder, "powerdns", zone)
        (folder / "pdns.conf").write_text(
            f"launch=gsqlite3\ngsqlite3-database={folder}/zones\n"
            f"local-address=127.0.0.1\nlocal-port={self.server.port}\nsocket-dir={folder}\n"
            "daemon=no\nguardian=no\nsecurity-poll-suffix=\n"
            "dnsupdate=yes\nallow-dnsupdate-from=127.0.0.1\n"
            "primary=yes\nsecondary=yes\nxfr-cycle-interval=1\n"
            "cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n"
            "zone-cache-refresh-interval=0\n"
        )
        with closing(sqlite3.connect(folder / "zones")) as zones, zones:
            zones.executescript(_SCHEMA.read_text(encoding="utf-8"))
            zones.execute("INSERT INTO domains (name, type) VALUES (?, 'MASTER')", (zone,))
            lines = [
                f"@ 60 SOA ns.{zone} hostmaster.{zone} 1 3600 600 86400 60",
                f"@ 60 NS ns.{zone}",
                "ns 60 A 127.0.0.1",
                *records,
            ]
            for line in lines:
                name, ttl, type_, value = line.split(maxsplit=3)
                full = zone if name == "@" else f"{name}.{zone}"
                zones.execute(
                    "INSERT INTO records (domain_id, name, ttl, type, content, auth) "
                    "VALUES (1, ?, ?, ?, ?, 1)",
                    (full, int(ttl), type_, value),
                )
            for key in (KEY_NAME, "powerless"):
                zones.execute(
                    "INSERT INTO tsigkeys (name, algorithm, secret) VALUES (?, 'hmac-sha256', ?)",
                    (key, KEY_SECRET),
                )
            zones.execute(
                "INSERT INTO domainmetadata (domain_id, kind, content) "
                "VALUES (1, 'TSIG-ALLOW-DNSUPDATE', ?)",
                (KEY_NAME,),
            )

    def follow(self, primary: Nameserver) -> None:
        """Say whose zone to copy, instead of holding it; before ``start``."""
        master = f"{primary.address}:{primary.port}"
        with closing(sqlite3.connect(self._folder / "zones")) as zones, zones:
            zones.execute("DELETE FROM records")
            zones.execute("UPDATE domains SET type = 'SLAVE', master = ?", (master,))

    def command(self) -> Sequence[str]:
        return ("pdns_server", f"--config-dir={self._folder}")


class Knot(NameServer):
    """A secondary of another server."""

    program = "knotd"

    def follow(self, primary: Nameserver) -> None:
        """Say whose zone to copy; before ``start``."""
        (self._folder / "knot.conf").write_text(
            f"server:\n  rundir: {self._folder}\n  listen: 127.0.0.1@{self.server.port}\n"
            f"  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            f"database:\n  storage: {self._folder}\n"
            "log:\n  - target: stderr\n    any: info\n"
            f"remote:\n  - id: primary\n    address: 127.0.0.1@{primary.port}\n"
            "acl:\n  - id: told\n    address: 127.0.0.1\n    action: notify\n"
            f"template:\n  - id: default\n    storage: {self._folder}\n"
            f"zone:\n  - domain: {self._zone}\n    master: primary\n    acl: told\n"
        )

    def command(self) -> Sequence[str]:
        return ("knotd", "-c", str(self._folder / "knot.conf"))
