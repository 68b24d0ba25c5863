"""What the chart renders for typical values, committed: a change of a template shows in review.

``python -m tests.helm.golden_files`` writes the files anew.
"""

from pathlib import Path

from tests.helm.helm_program import HELM_4, Helm, helm

FOLDER = Path(__file__).parent
CASES = ("defaults", *sorted(path.stem for path in (FOLDER / "values").glob("*.yaml")))


def options(case: str) -> tuple[str, ...]:
    """Return Helm's options for a case; the defaults have no file of values."""
    return () if case == "defaults" else ("--values", str(FOLDER / "values" / f"{case}.yaml"))


def golden_file(case: str) -> Path:
    """Return where a case's rendering is committed."""
    return FOLDER / "golden" / f"{case}.yaml"


def write_all(program: Helm) -> None:
    """Write every golden file."""
    for case in CASES:
        golden_file(case).write_text(program.render(*options(case)), encoding="utf-8")


if __name__ == "__main__":
    write_all(helm(HELM_4))
