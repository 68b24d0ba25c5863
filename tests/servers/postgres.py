"""A real PostgreSQL of one's own: Debian's binaries on a free loopback port, data in a folder.

The server refuses to run as root, so under root it runs as ``postgres``, in a folder of its own
that this user may enter (pytest's are closed to others).
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import LiteralString, Self

import psycopg

from tests.servers.prometheus import _free_port

BINARIES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "s3cret/of@the:journal"
"""Holds what must be escaped in a URL, and is looked for in logs and errors."""
_QUOTED = "s3cret%2Fof%40the%3Ajournal"
_READY_WITHIN_S = 60.0
_POLL_S = 0.05
_INSTALL = (
    f"is not in {BINARIES}, and these tests need the real server: `apt-get install postgresql` "
    "(Debian 12 has 15), or deselect them with -m 'not servers'"
)
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # the machine does not lose power in a test
    "shared_buffers": "16MB",
    "max_connections": "60",
    "log_min_messages": "fatal",
}


class PostgresServer:
    """A PostgreSQL process; use it as a context manager.

    Raises:
        AssertionError: PostgreSQL is not installed, or did not get ready.
    """

    def __init__(self) -> None:
        assert (BINARIES / "postgres").exists(), f"postgres {_INSTALL}"
        self.port = _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="rollbackd-postgres-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._as: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def __enter__(self) -> Self:
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        initdb = [f"{BINARIES}/initdb", "--no-sync", "--auth=scram-sha-256", "-U", "tester"]
        command = [*self._as, *initdb, f"--pwfile={password}", "-D", str(self._data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and return once it lets people in."""
        if self._process is not None:
            return
        options = [f"-c{key}={value}" for key, value in _SETTINGS.items()]
        server = [f"{BINARIES}/postgres", "-D", str(self._data), "-p", str(self.port)]
        command = [*self._as, *server, "-k", str(self._folder), *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                time.sleep(_POLL_S)
            else:
                return
        raise AssertionError("PostgreSQL did not get ready")

    def stop(self) -> None:
        """End it as quickly as it can end in good order; every connection is closed."""
        if self._process is None:
            return
        self._process.send_signal(2)  # SIGINT: "fast shutdown"
        self._process.wait(timeout=60)
        self._process = None

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the address of a database, password and all."""
        return f"postgresql://tester:{_QUOTED}@127.0.0.1:{port or self.port}/{database}"

    def fresh(self) -> str:
        """Make a new, empty database; return its address."""
        name = f"fresh{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: LiteralString, url: str = "") -> list[tuple[object, ...]]:
        """Run one statement as the administrator; return its rows."""
        with psycopg.connect(url or self.url(), autocommit=True, connect_timeout=5) as connection:
            answer = connection.execute(statement)
            return answer.fetchall() if answer.description else []

    def cut(self) -> None:
        """Kill every connection of the journals, as a fail-over does."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'rollbackd'"
        )
