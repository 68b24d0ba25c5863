"""Scores as a Markdown table."""

from collections.abc import Mapping

from benchmarks.recorded.scoring import Score

COLUMNS = (
    ("faults", "faults"),
    ("detected_pct", "found %"),
    ("premature_pct", "premature %"),
    ("median_delay_s", "median delay s"),
    ("median_delay_steps", "in steps"),
    ("aa", "A/A"),
    ("false_alarm_pct", "false alarms %"),
    ("clean_aa", "clean A/A"),
    ("clean_false_alarm_pct", "false alarms %"),
    ("silent", "silent"),
    ("silent_alarm_pct", "alarms %"),
)


def show(table: Mapping[str, Score]) -> None:
    """Print a Markdown table."""
    print("| source | " + " | ".join(title for _, title in COLUMNS) + " |")
    print("|---|" + "---:|" * len(COLUMNS))
    for source, row in table.items():
        cells = (getattr(row, name) for name, _ in COLUMNS)
        print(f"| {source} | " + " | ".join("-" if c is None else str(c) for c in cells) + " |")
