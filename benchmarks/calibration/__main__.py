"""How often a healthy release is rolled back, how soon harm is found, beside other judges.

``python -m benchmarks.calibration [--quick] [--json FILE] [--only NAME]``

Simulated deployments go through the daemon's own roster, families, detectors and judge; the other
judges look at the same data. The full run takes hours, the quick one some minutes. What was measured
is written row by row, so that a run that is cut off is not lost, and ``--read`` puts several runs
together: of a row that is in more than one, the one with most deployments is taken.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from benchmarks.calibration.page import publish
from benchmarks.calibration.printed import show
from benchmarks.calibration.situations import Situation
from benchmarks.calibration.suite import FULL, QUICK, SITUATIONS, Size, rows
from benchmarks.calibration.summary import Row, row_from
from benchmarks.calibration.trial import ALPHA

SEED = 20_250
ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run, or read what was run, then print and write."""
    options = _options()
    if options.read is not None:
        reports = [json.loads(path.read_text(encoding="utf-8")) for path in options.read]
    else:
        reports = [_measured(options)]
    found = together(reports)
    show(found)
    if options.docs is not None:
        publish(options.docs, found, "\n".join(f"- {_made(report)}" for report in reports))


def together(
    reports: Sequence[Mapping[str, Any]], situations: Sequence[Situation] = SITUATIONS
) -> list[Row]:
    """Return the rows of several reports in the order of the situations, of each the largest."""
    largest: dict[tuple[str, str], Row] = {}
    for row in (row_from(told) for report in reports for told in report["rows"]):
        known = largest.get((row.table, row.name))
        if known is None or known.runs <= row.runs:
            largest[row.table, row.name] = row
    order = [(situation.table, situation.name) for situation in situations]
    return [largest[key] for key in order if key in largest]


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run what was asked for, with a line for each row."""
    chosen = [
        s
        for s in SITUATIONS
        if (s.quick or not options.quick)
        and any(part.lower() in f"{s.table.value}: {s.name}".lower() for part in options.only)
    ]
    if not chosen:
        sys.exit(f"no situation matches {' or '.join(options.only)}")
    size = (QUICK if options.quick else FULL).capped(options.runs)
    began, found = time.perf_counter(), []
    report: dict[str, Any] = {}
    for row in rows(chosen, size, options.seed):
        found.append(row)
        elapsed = time.perf_counter() - began
        print(f"{elapsed:6.0f} s  {len(found)}/{len(chosen)}  {row.table}: {row.name}", flush=True)
        report = {"quick": options.quick, **document(found, size, options.seed, elapsed)}
        if options.json is not None:
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def document(found: list[Row], size: Size, seed: int, took_s: float) -> dict[str, Any]:
    """Return everything that was measured, and with what."""
    return {
        "alpha": ALPHA,
        "seed": seed,
        "size": asdict(size),
        "took_s": round(took_s, 1),
        "versions": {
            "rollbackd": _commit(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "rows": [asdict(row) for row in found],
    }


def _made(report: dict[str, Any]) -> str:
    """Return a sentence on what made the figures."""
    size = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in report["size"].items())
    return (
        f"Made by `python -m benchmarks.calibration{' --quick' if report['quick'] else ''}` in "
        f"{report['took_s'] / 60:.1f} minutes, seed {report['seed']}, commit "
        f"`{report['versions']['rollbackd']}`, numpy {report['versions']['numpy']}. Deployments "
        f"a row: {size}."
    )


def _commit() -> str:
    """Return the commit that was measured, "-dirty" with changes, or "unknown" outside git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607  # from PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer situations and deployments")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    parser.add_argument(
        "--only",
        metavar="NAME",
        nargs="+",
        default=[""],
        help="situations whose table or name contains this (or one of these)",
    )
    parser.add_argument("--runs", type=int, default=FULL.fine, help="at most so many a row")
    parser.add_argument(
        "--docs", type=Path, help="draw pictures and fill in tables in this folder"
    )
    parser.add_argument(
        "--read", type=Path, nargs="+", metavar="FILE", help="run nothing, read what --json wrote"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    return parser.parse_args()


if __name__ == "__main__":
    main()
