"""Traffic switch for NGINX: mark the canary's servers ``down`` in one upstream file, test, reload.

Servers are marked ``down`` rather than removed: weights and comments survive for the next rollout,
and ``ip_hash`` keeps the other clients where they are.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import requests

from actions.ports import Permanent, Transient
from actions.upstream_file import Servers, UpstreamFile, UpstreamSwitch

TEST_TIMEOUT_S = 30.0
"""For ``nginx -t``: it resolves the host names of all upstreams, which can be slow."""

CLOCK_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""Resolution of a process's start time: 0.01 s."""

PROBE_TIMEOUT_S = 2.0
"""For one request to the probe address."""

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)|(?P<mark>[{};])|(?P<word>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s{};]+)""",
    re.DOTALL,
)

_PID = re.compile(r"^\s*pid\s+([^;]+?)\s*;", re.MULTILINE)
"""The directive that names the pid file; it has no meaning but in the main configuration."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive of an NGINX configuration.

    Attributes:
        block: the first words of the blocks around it, outermost first, such as ``("http",)``.
        words: its words; quotes are kept. spans: where each word stands in the text.
        opens: it opens a block.
    """

    block: tuple[str, ...]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    opens: bool


def directives(text: str) -> Iterator[Directive]:
    """Yield the directives of an NGINX configuration in order; includes are not followed.

    Raises:
        ValueError: braces or semicolons do not fit.
    """
    block: list[str] = []
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(text):
        if token["word"]:
            words.append(token["word"])
            spans.append(token.span())
        elif token["mark"] == "}":
            if words or not block:
                raise ValueError("it is not a well-formed NGINX configuration")
            block.pop()
        elif token["mark"]:
            if not words:
                raise ValueError("it is not a well-formed NGINX configuration")
            opens = token["mark"] == "{"
            yield Directive(tuple(block), tuple(words), tuple(spans), opens)
            if opens:
                block.append(words[0])
            words, spans = [], []
    if words or block:
        raise ValueError("it is not a well-formed NGINX configuration")


@dataclass(frozen=True, slots=True)
class UpstreamBlock:
    """The layout of a file that holds one ``upstream NAME { … }`` block and nothing else."""

    path: Path
    upstream: str

    def servers(self, text: str) -> Mapping[str, bool]:
        """Return each server's address (with its port), and whether it is not marked ``down``.

        Raises:
            ValueError: the file holds something else than this one upstream.
        """
        return {_address(d.words[1]): "down" not in d.words[2:] for d in self._server_lines(text)}

    def switched(self, text: str, *, off: Collection[str], on: Collection[str]) -> str:
        """Return the text with ``down`` added or taken away; everything else is untouched."""
        for line in reversed(list(self._server_lines(text))):  # backwards, so that spans hold
            address = _address(line.words[1])
            if address in off and "down" not in line.words[2:]:
                at = line.spans[-1][1]
                text = f"{text[:at]} down{text[at:]}"
            elif address in on and "down" in line.words[2:]:
                at = line.words.index("down", 2)
                text = text[: line.spans[at - 1][1]] + text[line.spans[at][1] :]
        return text

    def _server_lines(self, text: str) -> Iterator[Directive]:
        try:
            found = list(directives(text))
        except ValueError as error:
            raise ValueError(f"{self.path} is not ours to change: {error}") from error
        top = [d for d in found if not d.block]
        ours = [d for d in top if d.opens and d.words == ("upstream", self.upstream)]
        if len(ours) != 1 or len(top) != 1:
            raise ValueError(
                f"{self.path} is not ours to change: it must hold the block "
                f'"upstream {self.upstream}" and nothing else'
            )
        return (d for d in found if d.block and d.words[0] == "server" and len(d.words) > 1)


@dataclass(frozen=True, slots=True)
class Worker:
    """One NGINX worker process; ``started_at`` in seconds since the epoch, to a clock tick."""

    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Installation:
    """Which NGINX it is and how it is looked at.

    Attributes:
        program: name or path of the program.
        config: the main configuration file, or None for the compiled-in one.
        pid_file: where the master writes its pid; None: as the configuration says.
        probe: an http address that must answer with less than 500 after the reload, or None.
        load_timeout_s: how long new workers may take to appear after the reload.
    """

    program: str = "nginx"
    config: Path | None = None
    pid_file: Path | None = None
    probe: str | None = None
    load_timeout_s: float = 10.0


class NginxMaster:
    """A running NGINX master process, found by its pid file and spoken to by signals.

    What configuration a worker runs with cannot be asked. It is the one that the master read last
    before it started the worker, so workers younger than the file have loaded it. It errs when a
    worker dies and is started anew with the old configuration between our write and our reload,
    and we are killed there too: then the switch looks done until the next reload, and the watch,
    which measures recovery, calls people.
    """

    def __init__(self, file: UpstreamFile, installation: Installation) -> None:
        self._file = file
        self._installation = installation

    def require_ready(self) -> None:
        """Raise unless NGINX is installed, runs and takes our signals.

        Raises:
            Transient: it does not run now. Permanent: not installed, or not ours to signal.
        """
        self._program()
        refusal = self._file.refusal()
        if refusal:
            raise Permanent(refusal)
        self._signal(0)

    def load(self) -> None:
        """Run ``nginx -t``, then send SIGHUP.

        Raises:
            Permanent: the test failed (in NGINX's words), or the signal is not permitted.
            Transient: the test did not end in time, or NGINX does not run.
        """
        result = self._run("-t", *self._config_arguments())
        if result.returncode != 0:
            raise Permanent(f"nginx -t refused {self._file.path}: {result.stderr.strip()}")
        time.sleep(
            2 * CLOCK_TICK_S
        )  # so that the new workers are seen to be younger than the file
        self._signal(signal.SIGHUP)

    def has_loaded(self) -> bool:
        """Tell whether every worker that takes new requests is younger than the file."""
        written_at = self._file.written_at
        workers = list(serving_workers(self._master()))
        return (
            bool(workers)
            and all(w.started_at >= written_at for w in workers)
            and self._probe_answers()
        )

    def _probe_answers(self) -> bool:
        if self._installation.probe is None:
            return True
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment would not reach this NGINX
            try:
                answer = session.get(
                    self._installation.probe, timeout=PROBE_TIMEOUT_S, allow_redirects=False
                )
            except requests.RequestException:
                return False
        return answer.status_code < 500  # noqa: PLR2004  (HTTP: the server's fault)

    def _signal(self, number: int) -> None:
        master = self._master()
        try:
            os.kill(master, number)
        except PermissionError as error:
            raise Permanent(
                f"no permission to signal the NGINX master (process {master}): "
                "run as its user, or grant CAP_KILL"
            ) from error
        except ProcessLookupError as error:
            raise Transient(f"the NGINX master (process {master}) has just ended") from error

    def _master(self) -> int:
        """Return the master's pid. Raises Transient when it does not run."""
        path = self._pid_path()
        try:
            pid = int(path.read_text().strip() or "0")
            title = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        except PermissionError as error:
            raise Permanent(f"no permission to read the pid file {path}") from error
        except (OSError, ValueError) as error:
            raise Transient(f"NGINX does not run: the pid file {path} names no process") from error
        if not title.startswith("nginx: master process"):
            raise Transient(
                f"the pid file {path} is stale: process {pid} is not an NGINX master "
                f"({title.replace(chr(0), ' ').strip()[:80] or 'no name'})"
            )
        return pid

    def _pid_path(self) -> Path:
        """Return where the pid file is: as given, as configured, or as compiled in."""
        if self._installation.pid_file is not None:
            return self._installation.pid_file
        built = self._built_with
        config = self._installation.config or Path(built["conf-path"])
        try:
            text = config.read_text(errors="replace")
        except OSError as error:
            reason = error.strerror
            raise Permanent(
                f"the NGINX configuration {config} cannot be read: {reason}"
            ) from error
        named = _PID.search(text)
        path = named[1].strip("\"'") if named else built["pid-path"]
        return Path(built["prefix"]) / path

    @cached_property
    def _built_with(self) -> Mapping[str, str]:
        """What the program was compiled with: ``conf-path``, ``pid-path`` and ``prefix``."""
        found = re.findall(r"--([\w-]+)=(\S+)", self._run("-V").stderr)
        upstream_defaults = {
            "prefix": "/usr/local/nginx",
            "conf-path": "/usr/local/nginx/conf/nginx.conf",
            "pid-path": "logs/nginx.pid",
        }
        return upstream_defaults | dict(found)

    def _config_arguments(self) -> tuple[str, ...]:
        return () if self._installation.config is None else ("-c", str(self._installation.config))

    def _program(self) -> str:
        """Return the program's path; administrators' directories count even when not in PATH."""
        path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin"
        found = shutil.which(self._installation.program, path=path)
        if found is None:
            raise Permanent(
                f'NGINX is not installed: there is no program "{self._installation.program}"'
            )
        return found

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603  (the program is the operator's configuration)
                [self._program(), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TEST_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Transient(f"nginx did not answer in {TEST_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise Permanent(f"nginx cannot be run: {error.strerror}") from error


def serving_workers(master: int) -> Iterator[Worker]:
    """Yield the master's workers that take new requests; those shutting down do not."""
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # the name in parentheses may hold spaces; what follows it does not
            stat = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(stat[1]) != master:  # ppid
                continue
            title = (entry / "cmdline").read_text(errors="replace").rstrip("\0 ")
        except OSError:  # it ended while we looked
            continue
        if title == "nginx: worker process":
            yield Worker(int(entry.name), booted_at + int(stat[19]) * CLOCK_TICK_S)


def _address(word: str) -> str:
    """Return a server's address in one spelling: lower case, with its port."""
    address = word.strip("\"'").lower()
    if address.startswith("unix:") or re.search(r":\d+$", address):
        return address
    return f"{address}:80"


class NginxSwitch(UpstreamSwitch):
    """Takes a canary out of one NGINX upstream; see ``actions.ports.Actuator``.

    Args:
        upstream_file: holds the block ``upstream NAME { … }`` and nothing else; included by the
            main configuration. upstream: NAME.
        servers: which servers of the file run which side; without a port, 80 is meant.
        installation: which NGINX.
        name: the actuator's name in the registry.

    Raises:
        ValueError: a server is named on both sides.
    """

    def __init__(
        self,
        *,
        upstream_file: Path,
        upstream: str,
        servers: Servers | None = None,
        installation: Installation | None = None,
        name: str = "nginx-switch",
    ) -> None:
        file = UpstreamFile(upstream_file)
        servers = servers or Servers()
        installation = installation or Installation()
        super().__init__(
            name=name,
            place=f"NGINX upstream {upstream}",
            file=file,
            layout=UpstreamBlock(upstream_file, upstream),
            proxy=NginxMaster(file, installation),
            servers=Servers(
                baseline=frozenset(map(_address, servers.baseline)),
                canary=frozenset(map(_address, servers.canary)),
            ),
            load_timeout_s=installation.load_timeout_s,
        )
