"""What is scraped: targets given in the configuration or in files of Prometheus' ``file_sd``."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import yaml

from rollbackd.sources.http_access import HttpAccess

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_KEPT = "the targets known before are kept"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TargetsInvalid(ValueError):
    """A targets file, or a target, is not what it must be; says which and how to mend it."""


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Some targets and the labels their series get, as one entry of a ``file_sd`` file.

    Attributes:
        targets: ``host:port`` each. labels: added to all their series; ``__scheme__``,
            ``__metrics_path__`` and ``__param_<name>`` direct the request, as in Prometheus.
    """

    targets: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScrapeJob:
    """Targets that are scraped in the same way.

    Attributes:
        name: becomes the ``job`` label. groups: targets known beforehand.
        files: JSON or YAML files of target groups, read again whenever they change.
        scheme, metrics_path: where the page is, unless a group says otherwise.
        access: credentials and TLS.
    """

    name: str
    groups: tuple[TargetGroup, ...] = ()
    files: tuple[Path, ...] = ()
    scheme: str = "http"
    metrics_path: str = "/metrics"
    access: HttpAccess = field(default_factory=HttpAccess)

    def __post_init__(self) -> None:
        """Refuse static targets that cannot be scraped.

        Raises:
            TargetsInvalid: says which and why.
        """
        list(self.resolve(self.groups))

    def resolve(self, groups: tuple[TargetGroup, ...]) -> "Iterator[Target]":
        """Yield the targets of some groups, as this job scrapes them.

        Raises:
            TargetsInvalid: an address, a scheme or a label name is not valid.
        """
        for group in groups:
            for address in group.targets:
                yield _resolved(self, address, group.labels)


@dataclass(frozen=True, slots=True)
class Target:
    """One page to scrape.

    Attributes:
        url: where it is. labels: what its series get, sorted; always with ``instance`` and ``job``.
    """

    url: str
    labels: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What people know it by."""
        return dict(self.labels)["instance"]


def _resolved(job: ScrapeJob, address: str, labels: Mapping[str, str]) -> Target:
    bad = [name for name in labels if not _LABEL_NAME.fullmatch(name)]
    if bad:
        raise TargetsInvalid(f"target {address!r}: {bad[0]!r} is not a label name")
    scheme = labels.get("__scheme__", job.scheme)
    if scheme not in _DEFAULT_PORTS:
        raise TargetsInvalid(f"target {address!r}: the scheme must be http or https, not {scheme}")
    try:
        parts = urlsplit(f"{scheme}://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or "/" in address or "@" in address or "?" in address or "#" in address:
        raise TargetsInvalid(
            f"target {address!r} must be host:port; the path goes into metrics_path"
        )
    instance = address if port is not None else f"{address}:{_DEFAULT_PORTS[scheme]}"
    path = labels.get("__metrics_path__", job.metrics_path)
    params = [
        (name.removeprefix("__param_"), value)
        for name, value in labels.items()
        if name.startswith("__param_")
    ]
    query = f"?{urlencode(params)}" if params else ""
    shown = {name: value for name, value in labels.items() if not name.startswith("__") and value}
    return Target(
        url=f"{scheme}://{instance}/{path.lstrip('/')}{query}",
        labels=tuple(sorted({"job": job.name, "instance": instance, **shown}.items())),
    )


class TargetFile:
    """The targets of one file, which may change at any time.

    Attributes:
        path: the file. targets: those of its last valid version.
        refused: why its present version is not used, "" when it is.
    """

    def __init__(self, path: Path, job: ScrapeJob) -> None:
        self.path = path
        self.targets: tuple[Target, ...] = ()
        self.refused = ""
        self._job = job
        self._seen: tuple[int, int, int] | None = None

    def refresh(self) -> None:
        """Read the file if it changed since the last call."""
        version: tuple[int, int, int] | None = None
        try:
            state = self.path.stat()
            version = (state.st_mtime_ns, state.st_size, state.st_ino)
            if version == self._seen:
                return
            groups = _parsed(self.path, self.path.read_text(encoding="utf-8"))
            self.targets = tuple(self._job.resolve(groups))
        except (OSError, UnicodeDecodeError) as error:
            # what could not be read is tried again at every round, even unchanged
            self._seen = None
            self.refused = f"targets file {self.path}: {error}; {_KEPT}"
        except TargetsInvalid as error:
            self._seen = version
            self.refused = f"targets file {self.path}: {error}; {_KEPT}"
        else:
            self._seen = version
            self.refused = ""


def _parsed(path: Path, text: str) -> tuple[TargetGroup, ...]:
    """Return the groups of a file in the format of ``file_sd``."""
    try:
        # as in Prometheus, the ending decides; YAML would read a half-written JSON file too
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise TargetsInvalid(" ".join(str(error).split())) from error
    if content is None:
        return ()
    if not isinstance(content, list):
        raise TargetsInvalid(
            'it must be a list of groups like {"targets": ["host:port"], "labels": {}}'
        )
    return tuple(_group(index, entry) for index, entry in enumerate(content))


def _group(index: int, entry: object) -> TargetGroup:
    match entry:
        case {"targets": list(targets), **rest} if set(rest) <= {"labels"}:
            labels = rest.get("labels") or {}
            if isinstance(labels, dict) and all(
                isinstance(text, str) for text in [*targets, *labels, *labels.values()]
            ):
                return TargetGroup(tuple(targets), labels)
        case _:
            pass
    raise TargetsInvalid(
        f"entry [{index}] must have 'targets' (a list of strings) and may have 'labels' "
        "(strings to strings), nothing else"
    )
