"""``python -m benchmarks.recorded.study --cases DIR``: what the recorded cases alone cannot show.

Healthy recordings with other stretches called canary, faults put into healthy recordings, and
systems that nobody recorded. Percentages of recombined cases are worth less than their number:
they share stretches.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.recorded.cases import SPLITS, load
from benchmarks.recorded.following import Following
from benchmarks.recorded.injected import injected
from benchmarks.recorded.invented import invented
from benchmarks.recorded.printed import show
from benchmarks.recorded.recombined import recombined
from benchmarks.recorded.scoring import Case, Outcome, by_source, run

HEALTHY, STRUCK = 60, 8
"""Invented cases of each system: for false alarms, and to put every fault into."""


def main() -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recorded.study", description=__doc__
    )
    parser.add_argument("--cases", type=Path, required=True, help="folder with cases/dev")
    parser.add_argument("--split", choices=sorted(SPLITS), default="dev")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    cases = list(load(options.cases, options.split))
    parts: dict[str, Iterable[Case]] = {
        "healthy recordings, recombined": recombined(cases),
        "faults put into healthy recordings": injected(cases),
        "invented systems, healthy": invented(HEALTHY),
        "invented systems, faults": injected(invented(STRUCK, seed=2)),
    }
    report = {}
    for title, some in parts.items():
        began = time.perf_counter()
        outcomes = [_outcome(case) for case in some]
        print(f"\n## {title}: {len(outcomes)} cases in {time.perf_counter() - began:.0f} s\n")
        tables = [by_source(outcomes)]
        faults = [replace(o, source=o.fault_type) for o in outcomes if o.fault_type is not None]
        tables += [by_source(faults)] if faults else []
        for table in tables:
            show(table)
            print()
        report[title] = [{name: asdict(row) for name, row in table.items()} for table in tables]
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _outcome(case: Case) -> Outcome:
    return run(case, Following(paired=case["pairing"] == "concurrent").look)


if __name__ == "__main__":
    main()
