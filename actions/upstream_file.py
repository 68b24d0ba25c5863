"""The file that says where traffic goes, and the guarded switch that both traffic actuators are.

A proxy (NGINX, the built-in splitter) reads a small file that lists servers. Leaving a canary means:
turn its servers off in that file, have the proxy test the file, have it load the file, see that it
did. What differs between proxies is the file's layout and how the proxy is spoken to; the order of
things and what happens when they are interrupted is the same and is written here once.
"""

import hashlib
import os
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from actions.plan import Draft, Step
from actions.ports import Conflict, Permanent, StepState, Transient
from analyzer.rollout import Rollout, Side

MAX_FILE_BYTES = 64 * 1024
"""Larger files are refused: the content travels in the plan and in the journal."""

POLL_S = 0.02
"""Between two looks at a proxy that is loading a file; NGINX needs about 0.1 s."""


def digest(text: str) -> str:
    """Return the SHA-256 of a file's content, in hex: what preconditions compare."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class UpstreamFile:
    """A small text file that is read whole and replaced whole.

    Attributes:
        path: the file itself; a symbolic link is followed, and what it points to is replaced.
    """

    path: Path

    def read(self) -> str:
        """Return the content.

        Raises:
            Permanent: there is no such file, it may not be read, is too large or is not text.
        """
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
            if len(raw) > MAX_FILE_BYTES:
                raise Permanent(
                    f"{self.path} is too large to be ours (over {MAX_FILE_BYTES} bytes)"
                )
            return raw.decode()
        except OSError as error:
            raise Permanent(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Permanent(f"{self.path} cannot be read: it is not UTF-8 text") from error

    @property
    def written_at(self) -> float:
        """When the file last changed, seconds since the epoch; cannot be set by hand (ctime).

        Raises:
            Permanent: there is no such file or it may not be looked at.
        """
        try:
            return self.path.stat().st_ctime
        except OSError as error:
            raise Permanent(f"{self.path} cannot be read: {error.strerror}") from error

    def refusal(self) -> str | None:
        """Say why the file could not be replaced, or None when nothing speaks against it."""
        real = self.path.resolve()
        if not os.access(real.parent, os.W_OK | os.X_OK):
            return f"the directory {real.parent} may not be written, so {real.name} stays as it is"
        return None

    def replace(self, text: str) -> None:
        """Write the content so that a reader, or a crash at any moment, sees all or nothing of it.

        The file keeps its mode and owner. The temporary file beside it starts with a dot and has a
        fixed name: ``include *.conf`` does not match it, and one left by a crash is used again.

        Raises:
            Permanent: the directory may not be written, or the disk is full.
        """
        real = self.path.resolve()
        beside = real.with_name(f".{real.name}.rollbackd-new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        try:
            before = real.stat()
            with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
                file.write(text.encode())
                file.flush()
                mine = os.fstat(file.fileno())
                if (mine.st_uid, mine.st_gid) != (before.st_uid, before.st_gid):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
                os.fsync(file.fileno())
            beside.replace(real)
            _sync_directory(real.parent)
        except OSError as error:
            raise Permanent(f"{self.path} cannot be written: {error.strerror}") from error


class Layout(Protocol):
    """How one kind of file lists its servers."""

    def servers(self, text: str) -> Mapping[str, bool]:
        """Return each server's address, and whether it takes traffic.

        Raises ValueError with a sentence for people when the file is not of this kind or not ours.
        """

    def switched(self, text: str, *, off: Collection[str], on: Collection[str]) -> str:
        """Return the content with some servers turned off and some on; the rest stays as it is."""


class Proxy(Protocol):
    """The running process that reads the file."""

    def require_ready(self) -> None:
        """Raise Transient or Permanent unless the proxy runs and could be told of a change."""

    def load(self) -> None:
        """Have the proxy test the file on disk, then ask it to use it.

        Raises Permanent with the proxy's own words when it would not accept the file (then it was
        not asked to use it), Transient when it did not answer.
        """

    def has_loaded(self) -> bool:
        """Tell whether the file on disk is what new requests are served by.

        Raises Transient or Permanent when that cannot be found out.
        """


@dataclass(frozen=True, slots=True)
class Servers:
    """Which servers of the file run which side, as the file spells their addresses.

    Attributes:
        baseline, canary: when empty, the ids of the rollout's instances are the addresses.

    Raises:
        ValueError: a server is named on both sides.
    """

    baseline: frozenset[str] = frozenset()
    canary: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a server that would be both good and bad."""
        both = sorted(self.baseline & self.canary)
        if both:
            raise ValueError(f"{', '.join(both)} cannot be both a baseline and a canary server")

    def of(self, rollout: Rollout, side: Side) -> frozenset[str]:
        """Return the addresses of one side."""
        named = self.canary if side is Side.CANARY else self.baseline
        return named or frozenset(i.id[0] for i in rollout.instances(side) if len(i.id) == 1)


class UpstreamSwitch:
    """The actuator's semantics over a layout and a proxy; see ``actions.ports.Actuator``.

    A kill at any moment is survived: the plan carries the content before and after, so a second
    ``perform`` can tell "not begun" from "written, not loaded" and finishes or takes back. A file
    that is written and not loaded is therefore PENDING: somebody has to ask the proxy, waiting
    would not help. It is SETTLING only while a ``perform`` of this process waits for the proxy.

    Args:
        name: the actuator's name in the registry.
        place: what is changed, for people, such as ``NGINX upstream shop``.
        servers: which servers of the file run which side.
        load_timeout_s: how long the proxy may take from being asked to serving by the new file.
    """

    def __init__(
        self,
        *,
        name: str,
        place: str,
        file: UpstreamFile,
        layout: Layout,
        proxy: Proxy,
        servers: Servers,
        load_timeout_s: float,
    ) -> None:
        self._name = name
        self._place = place
        self._file = file
        self._layout = layout
        self._proxy = proxy
        self._servers = servers
        self._load_timeout_s = load_timeout_s
        self._lock = threading.Lock()
        self._loading = False

    def propose(self, rollout: Rollout) -> Draft:
        """Return the one step that turns the canary's servers off, or why it cannot.

        Baseline servers that somebody turned off stay off while another one takes traffic; when
        none does (blue/green), all of them are turned on.
        """
        try:
            text = self._file.read()
            listed = self._layout.servers(text)
            self._proxy.require_ready()
        except (Permanent, ValueError) as error:
            return Draft(refusals=(str(error),))
        canary = self._servers.of(rollout, Side.CANARY)
        baseline = self._servers.of(rollout, Side.BASELINE) & listed.keys()
        off = frozenset(s for s in canary if listed.get(s))
        on = frozenset() if any(listed[s] for s in baseline) else baseline
        refusals = self._refusals(canary, baseline, off)
        if refusals:
            return Draft(refusals=refusals)
        return Draft(steps=(self._step(text, off=off, on=on),))

    def inspect(self, step: Step) -> StepState:
        """Compare the file, and what the proxy loaded of it, with the step."""
        found = self._found(step)
        if found == step.desired["sha256"]:
            if self._proxy.has_loaded():
                return StepState.DONE
            return StepState.SETTLING if self._loading else StepState.PENDING
        return StepState.PENDING if found == step.expected["sha256"] else StepState.MOVED_ON

    def perform(self, step: Step) -> None:
        """Write, test, load, and wait until the proxy serves by the new file.

        Raises:
            Conflict: the file holds neither what the plan saw nor what it wants.
            Permanent: the proxy would not accept the file (the old content is back), or it may
                not be written or the proxy may not be told.
            Transient: the proxy does not run, or has not loaded the file in time.
        """
        with self._lock:
            found = self._found(step)
            if found not in (step.expected["sha256"], step.desired["sha256"]):
                raise Conflict(f"{self._file.path} was changed by somebody else since the plan")
            if found == step.desired["sha256"] and self._proxy.has_loaded():
                return
            self._proxy.require_ready()
            if found != step.desired["sha256"]:
                self._file.replace(str(step.desired["content"]))
            self._loading = True
            try:
                self._load(step)
            finally:
                self._loading = False

    def _found(self, step: Step) -> str:
        if step.target.get("file") != str(self._file.path):
            raise Permanent(f"the step is for {step.target.get('file')}, not {self._file.path}")
        return digest(self._file.read())

    def _load(self, step: Step) -> None:
        try:
            self._proxy.load()
        except Permanent:
            self._file.replace(str(step.expected["content"]))
            raise
        deadline = time.monotonic() + self._load_timeout_s
        while not self._proxy.has_loaded():
            if time.monotonic() > deadline:
                raise Transient(
                    f"{self._place}: {self._file.path} was written, and is not in use "
                    f"{self._load_timeout_s:g} s after the proxy was asked to load it"
                )
            time.sleep(POLL_S)

    def _refusals(
        self, canary: Collection[str], baseline: Collection[str], off: Collection[str]
    ) -> tuple[str, ...]:
        reasons = []
        if not off:
            names = ", ".join(sorted(canary)) or "no server is known"
            reasons.append(f"the canary ({names}) takes no traffic from {self._place} any more")
        if not set(baseline) - set(off):
            reasons.append(f"no baseline server would be left in {self._place}")
        return tuple(reasons)

    def _step(self, text: str, *, off: frozenset[str], on: frozenset[str]) -> Step:
        desired = self._layout.switched(text, off=off, on=on)
        summary = f"take {', '.join(sorted(off))} out of {self._place}"
        if on:
            summary += f" and put {', '.join(sorted(on))} back"
        return Step(
            actuator=self._name,
            target={"file": str(self._file.path), "off": sorted(off), "on": sorted(on)},
            expected={"sha256": digest(text), "content": text},
            desired={"summary": summary, "sha256": digest(desired), "content": desired},
        )


def _sync_directory(path: Path) -> None:
    """Make a rename in the directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
