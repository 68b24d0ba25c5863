"""Situations in which the canary gets other requests than the baseline, with and without harm."""

from benchmarks.calibration.routes import Mix
from benchmarks.calibration.simulator import REALISTIC_ERRORS, Errors, Fleet
from benchmarks.calibration.situations import (
    ONE_OF_21,
    THREE_OF_10,
    Situation,
    Table,
    scraped,
)

_SHARES, _RATES = (0.5, 0.3, 0.12, 0.05, 0.03), (0.001, 0.001, 0.003, 0.02, 0.08)
"""Browsing that hardly fails, and a search and a payment that do."""

ALIKE = Mix(shares=_SHARES, rates=_RATES)
BY_HEADER = Mix(shares=_SHARES, canary=(0.2, 0.15, 0.2, 0.25, 0.2), rates=_RATES)
"""Internal users, who buy more than they browse."""
A_LITTLE = Mix(shares=_SHARES, canary=(0.47, 0.28, 0.12, 0.07, 0.06), rates=_RATES)
BY_PATH = Mix(shares=(0.6, 0.4, 0.0), canary=(0.0, 0.0, 1.0), rates=(0.002, 0.04, 0.03), named=2)
"""The canary serves a path of its own, of which the baseline knows nothing."""
EASIER = Mix(shares=_SHARES, canary=(0.7, 0.28, 0.01, 0.006, 0.004), rates=_RATES)

SAME, TRIPLE = Errors(), Errors(factor=3.0)


def _row(
    name: str, where: Fleet, mix: Mix, errors: Errors = SAME, *, quick: bool = False
) -> Situation:
    return Situation(
        name=name,
        table=Table.MIX,
        fleet=scraped(where),
        errors=errors,
        mix=mix,
        noise=REALISTIC_ERRORS,
        quick=quick,
    )


MIX_FINE = (
    _row("the same requests, 3v7", THREE_OF_10, ALIKE, quick=True),
    _row("the same requests, 1v20", ONE_OF_21, ALIKE),
    _row("routed by header, 3v7", THREE_OF_10, BY_HEADER, quick=True),
    _row("routed by header, 1v20", ONE_OF_21, BY_HEADER),
    _row("a little otherwise, 3v7", THREE_OF_10, A_LITTLE, quick=True),
    _row("a path of its own, 3v7", THREE_OF_10, BY_PATH),
)
MIX_HARM = (
    _row("errors ×3, the same requests, 3v7", THREE_OF_10, ALIKE, TRIPLE, quick=True),
    _row("errors ×3, routed by header, 3v7", THREE_OF_10, BY_HEADER, TRIPLE, quick=True),
    _row("errors ×3, routed by header, 1v20", ONE_OF_21, BY_HEADER, TRIPLE),
    _row("errors ×3, easier requests, 3v7", THREE_OF_10, EASIER, TRIPLE, quick=True),
    _row("20 % fail, a path of its own, 3v7", THREE_OF_10, BY_PATH, Errors(extra=0.2)),
)
