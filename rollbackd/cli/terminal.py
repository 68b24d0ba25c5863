"""The terminal that is printed to: its width, and whether it has colours."""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120
"""Columns when the output is not a terminal."""


def console() -> "Console":
    """Return a console on stdout: no colours off a terminal, and no guesses in what it prints."""
    from rich.console import Console  # noqa: PLC0415 - only what draws tables pays for it

    width = None
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        width = PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)
