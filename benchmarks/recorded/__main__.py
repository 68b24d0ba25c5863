"""``python -m benchmarks.recorded --cases DIR``: scores per source, as a table or as JSON."""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.recorded.cases import SPLITS, load
from benchmarks.recorded.following import Following
from benchmarks.recorded.printed import show
from benchmarks.recorded.scoring import Outcome, by_source, run


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recorded", description=__doc__)
    parser.add_argument(
        "--cases", type=Path, required=True, help="folder with cases/dev, cases/held"
    )
    parser.add_argument("--split", choices=sorted(SPLITS), default="all")
    parser.add_argument("--source", help="only the cases of this source")
    parser.add_argument(
        "--spans", action="store_true", help="follow the spans, too, of cases that have any"
    )
    parser.add_argument("--json", type=Path, help="write the figures and every outcome there")
    parser.add_argument("--why", action="store_true", help="print every wrong outcome's reasons")
    options = parser.parse_args()
    began, outcomes = time.perf_counter(), []
    for case in load(options.cases, options.split, options.source):
        traced = case if options.spans and case.get("spans") else None
        following = Following(paired=case["pairing"] == "concurrent", traced=traced)
        outcome = run(case, following.look)
        outcomes.append(outcome)
        if options.why:
            _explain(outcome, following)
    if not outcomes:
        parser.error(f"no case under {options.cases / 'cases'} for this split and source")
    table = by_source(outcomes)
    print(f"\n{len(outcomes)} cases in {time.perf_counter() - began:.0f} s\n")
    show(table)
    if options.json:
        report = {
            "table": {source: asdict(row) for source, row in table.items()},
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _explain(outcome: Outcome, following: Following) -> None:
    """Print what was wrong: a fault missed or accused too early, a healthy canary accused."""
    delay = outcome.delay_s
    wrong = (delay is None or delay <= 0) if outcome.kind == "fault" else outcome.alarm_s
    if (outcome.silent and outcome.alarm_s is None) or not wrong:
        return
    print(f"{outcome.id} {outcome.kind} {outcome.fault_type or ''} alarm {outcome.alarm_s}")
    if following.judgement is not None:
        print(f"  e {following.judgement.e_value:.3g} of {following.judgement.limit:.0f}")
        for reason in following.judgement.reasons:
            print(f"  {reason.strength:8.3g} {reason.text}")


if __name__ == "__main__":
    main()
