"""The play itself: the script's cues, the audience's screen, the verdict and the report."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollbackd.demo.configuration import CANARY
from rollbackd.demo.interrupts import Interrupts
from rollbackd.demo.observer import Customers, Observer
from rollbackd.demo.screen import Scene, Screen, screen
from rollbackd.demo.script import TOTAL_S, Cue, Outcome, Script, outcome, too_late, with_cues
from rollbackd.demo.stage import RATE, Stage, StageError
from rollbackd.report import render, write
from rollbackd.views import WatchView

FRAME_S = 0.25
"""Between two looks at the stage."""

FAULTS = ("errors", "latency", "crash", "n-plus-one", "dependency", "none")

DEFAULT_REPORT = Path("demo-report/report.html")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is left when the play is over."""

    outcome: Outcome
    view: WatchView | None
    facts: Mapping[str, str]


def play(
    fault: str, *, report: Path | None, seconds: int | None, no_nginx: bool, plain: bool
) -> int:
    """Play the demo; see ``rollbackd.demo.run``."""
    report = report or DEFAULT_REPORT
    limit = float(seconds or TOTAL_S)
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="rollbackd-demo-"))
    stage = Stage(fault, directory, seconds=limit, no_nginx=no_nginx)
    shown, interrupts = screen(plain=plain), Interrupts()
    try:
        with interrupts.heeded():
            shown.say(f"rollbackd demo, fault: {fault}. Setting the stage …")
            with stage, Observer(stage.daemon_address, stage.customers_address) as observer, shown:
                performance = Performance(stage, observer, shown, fault, interrupts)
                ending = performance.perform(began, limit)
    except KeyboardInterrupt:
        shown.say("Broken off; everything was ended.")
        shutil.rmtree(directory, ignore_errors=True)
        return INTERRUPTED
    except StageError as error:
        shown.say(f"The demo failed: {error}")
        shown.say(f"Logs: {directory}")
        return 1
    _write_report(report, fault, ending)
    shown.say("")
    shown.say(ending.outcome.sentence)
    shown.say(f"Report: {report.absolute()}")
    if not ending.outcome.expected:
        shown.say(f"That was not expected. Logs, configuration and journal: {directory}")
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    others = ", ".join(name for name in FAULTS if name != fault)
    shown.say(f"Next: rollbackd demo --fault … ({others}), and rollbackd run --help.")
    return 0


class Performance:
    """One run on a stage that is set.

    Args:
        stage: the running processes. observer: looks at them. shown: the audience's screen.
        fault: what will happen to the canary. interrupts: whether somebody wants it to end.
    """

    def __init__(
        self,
        stage: Stage,
        observer: Observer,
        shown: Screen,
        fault: str,
        interrupts: Interrupts,
    ) -> None:
        self._stage = stage
        self._observer = observer
        self._shown = shown
        self._fault = fault
        self._interrupts = interrupts
        self._script = Script(fault)
        self._cues: tuple[tuple[str, float], ...] = ()
        self._view: WatchView | None = None

    def perform(self, began: float, limit: float) -> Ending:
        """Play until the watch is over or the time is up.

        Args:
            began: of the demo, on the monotonic clock; setting the stage counts.
            limit: seconds from then until it is broken off.

        Raises:
            StageError: a process ended that should not.
            KeyboardInterrupt: somebody wants it to end.
        """
        raised = time.monotonic()
        ended: Outcome | None = None
        while ended is None:
            self._interrupts.check()
            self._stage.supervise()
            self._follow_script(time.monotonic() - raised)
            self._view = self._observer.watch() or self._view
            view = None if self._view is None else with_cues(self._view, self._cues)
            self._shown.show(self._scene(view, time.monotonic() - began))
            ended = outcome(self._fault, view, self._stage.front.canary_is_admitted())
            if ended is None and time.monotonic() - began > limit:
                ended = too_late(view, limit)
            if ended is None:
                time.sleep(FRAME_S)
        view = None if self._view is None else with_cues(self._view, self._cues)
        return Ending(ended, view, self._facts(time.monotonic() - began))

    def _follow_script(self, elapsed: float) -> None:
        self._script, cue = self._script.next(elapsed)
        if cue is None:
            return
        match cue:
            case Cue.ADMIT_CANARY:
                self._stage.admit_canary()
            case Cue.ARM_FAULT:
                self._stage.arm_fault()
        self._cues += ((self._script.describe(cue), time.time()),)

    def _scene(self, view: WatchView | None, elapsed: float) -> Scene:
        admitted = self._stage.front.canary_is_admitted()
        servers = len(self._stage.addresses.servers)
        return Scene(
            title=f"rollbackd demo · fault: {self._fault}",
            elapsed=elapsed,
            actors=tuple(self._stage.actors()),
            canary_share=1 / servers if admitted else 0.0,
            view=view,
        )

    def _facts(self, elapsed: float) -> Mapping[str, str]:
        services = (
            f"{len(self._stage.addresses.baseline)} baseline and 1 canary process ({CANARY})"
        )
        if self._stage.restarts:
            services += f", restarted {self._stage.restarts} times after crashes"
        facts = {
            "Fault": self._fault,
            "Services": services,
            "Traffic": f"{RATE:g} requests a second through {self._stage.front.name}",
        }
        counted = self._observer.customers()
        if counted is not None:
            facts["Customers"] = _counted(counted, self._stage.addresses.canary)
        return facts | {"Duration": f"{elapsed:.0f} s, with starting everything"}


def _counted(customers: Customers, canary: str) -> str:
    sent, failed = customers.total()
    by_canary = customers.failed.get(canary, 0)
    served = customers.sent.get(canary, 0)
    return (
        f"{sent} requests, {failed} failed; the canary got {served} of them and failed {by_canary}"
    )


def _write_report(path: Path, fault: str, ending: Ending) -> None:
    html = render(
        [] if ending.view is None else [ending.view],
        title=f"rollbackd demo: fault {fault}",
        generated_at=time.time(),
        outcome=ending.outcome.sentence,
        facts=ending.facts,
    )
    write(path, html)
