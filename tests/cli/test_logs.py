"""What a log line looks like, ours and those of libraries."""

import json
import subprocess
import sys

LOGS = """
import logging, sys
from rollbackd.cli.logs import LogFormat, LogSettings
LogSettings(LogFormat(sys.argv[1]), "info").configure()
import structlog
structlog.get_logger("rollbackd.test").info("watch began", watch="shop/checkout@v2", signals=2)
structlog.get_logger("rollbackd.test").debug("not shown")
logging.getLogger("library").warning("slow %s", "disk")
logging.getLogger("apscheduler.scheduler").info("not shown")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("rollbackd.test").exception("tick failed")
"""


def logged(log_format: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", LOGS, log_format], capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""  # that is for results
    return ended.stderr


def test_json_lines_are_complete_and_one_an_event() -> None:
    ours, library, failure = map(json.loads, logged("json").splitlines())
    assert ours["event"] == "watch began"
    assert (ours["watch"], ours["signals"], ours["level"]) == ("shop/checkout@v2", 2, "info")
    assert ours["timestamp"].endswith("Z")
    assert (library["event"], library["logger"]) == ("slow disk", "library")
    assert "ZeroDivisionError" in failure["exception"]


def test_the_console_format_is_for_people() -> None:
    text = logged("console")
    assert "watch began" in text
    assert "watch=shop/checkout@v2" in text
    assert "\x1b" not in text
    assert logged("auto").startswith("{")  # no terminal: JSON
