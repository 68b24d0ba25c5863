"""The demo: a small shop of real processes, a canary that goes bad, and the real daemon.

Nothing here is used by the daemon itself; everything here uses only what any user could.
"""

from pathlib import Path


def run(
    fault: str,
    *,
    report: Path | None = None,
    seconds: int | None = None,
    no_nginx: bool = False,
    plain: bool = False,
) -> int:
    """Play the demo and return the exit code.

    Args:
        fault: what happens to the canary: ``errors``, ``latency``, ``crash``,
            ``n-plus-one`` or ``none``; with ``dependency``, to what both versions depend on.
        report: where the HTML report is written; None: ``demo-report/report.html``.
        seconds: give up after this long; None: 85, so that all is over within 90.
        no_nginx: use the built-in splitter even where NGINX is installed.
        plain: print lines even when the output is a terminal.

    Returns:
        0 when it ended as it should, 1 when not (the reason is printed), 130 after Ctrl-C.
    """
    # The services of the shop are modules of this package and must not pay for the play.
    from rollbackd.demo.play import play  # noqa: PLC0415

    return play(fault, report=report, seconds=seconds, no_nginx=no_nginx, plain=plain)
