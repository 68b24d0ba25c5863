"""``python -m rollbackd``."""

from rollbackd.cli import main

main(prog_name="rollbackd")
