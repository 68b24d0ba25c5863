"""How each region stands: against the other regions, and against its own history.

The comparison is the one of rollouts. For "against the others", the region is the canary and all
others are the baseline; for "against its history", the region is the baseline, whose drift from
its past is measured anyway. A region is sick when both say so: regions differ from each other all
the time, and a whole service has bad days; only one region getting worse alone is worth moving.

While most of the others are worse than their own history, too, nobody is sick: what differs usually
differs the more in an incident. What was seen of such a stretch tells nothing of one region, so a
region's evidence begins anew when it is over.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import assert_never

from analyzer.comparison import Comparison
from analyzer.evidence import EvidenceOf, Measured
from analyzer.judge import Judgement, Verdict, judge
from analyzer.policy import Policy
from analyzer.regions.events import Assessed, Standing
from analyzer.rollout import Instance, Revision, Rollout, Workload
from analyzer.roster import Roster
from analyzer.sample import Missing, Query
from analyzer.signal import (
    IntervalSignal,
    RatioSignal,
    Selector,
    Signal,
    Tier,
    TraceSignal,
    series_of,
)
from analyzer.wording import e_value
from rollbackd.collect import Collector
from rollbackd.regions.source import REGION, RegionalSource

FRESH_S = 3600.0
"""Evidence of a region about which there is nothing to say begins anew this often: evidence that
has long said "healthy" would be slow to say anything else."""
CALM = 10.0
"""Evidence below this is nothing that would be lost by beginning anew."""


class Assessor:
    """Judges regions. All calls by one thread.

    Args:
        regions: their names.
        policy: signals and how sure one must be.
        id_labels: metric labels that identify an instance within its region.
        source: every region's metrics. collector: brings comparisons up to date from it.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        regions: Sequence[str],
        policy: Policy,
        id_labels: tuple[str, ...],
        source: RegionalSource,
        collector: Collector,
        now: Callable[[], float],
    ) -> None:
        self._regions = tuple(regions)
        self._policy = policy
        self._id_labels = (REGION, *id_labels)
        self._source = source
        self._collector = collector
        self._now = now
        self._comparison = Comparison(collector.tick_s)
        self._instances: dict[str, tuple[Instance, ...]] = {}
        self._rosters: dict[str, Roster] = {}
        self._begun: dict[str, float] = {}
        self._renewals: set[str] = set()
        self._shared: set[str] = set()

    def renew(self, region: str) -> None:
        """Begin to compare a region anew, with the next assessment."""
        self._renewals.add(region)

    def assess(self) -> dict[str, Assessed]:
        """Fetch what is new and judge every region."""
        now = self._now()
        self._discover(now)
        for region in self._regions:
            self._keep_up(region, now)
        broken = {
            member.watch_id
            for family in self._collector.collect(self._comparison.families, now)
            for member in family.members
        }
        evidence = self._comparison.evidence()
        judged = {
            r: judge(self._policy, evidence.get(_against_others(r), {})) for r in self._regions
        }
        drift = {r: drifts(self._policy, evidence.get(_against_history(r), {})) for r in judged}
        bad = {r for r, judgement in judged.items() if _beyond(drift[r], judgement.limit)}
        found = {}
        for region, judgement in judged.items():
            if broken & {_against_others(region), _against_history(region)}:
                self._leave(region)
                found[region] = Assessed(Standing.BLIND, "an internal error; see the log")
                continue
            company = self._company(region, bad)
            found[region] = assessed(region, judgement, drift[region], company)
            self._refresh(region, judgement, found[region], now)
        return found

    def _company(self, region: str, bad: AbstractSet[str]) -> tuple[str, ...]:
        """Return the other regions, when most of them are worse than their own history now.

        When such a stretch is over they are told once more, and the evidence begins anew.

        Args:
            region: the one that is asked about.
            bad: the regions that are worse than their own history.
        """
        others = tuple(other for other in self._regions if other != region)
        if 2 * len(bad & set(others)) > len(others):
            self._shared.add(region)
            return others
        if region not in self._shared:
            return ()
        self._shared.discard(region)
        self._renewals.add(region)
        return others

    def _discover(self, now: float) -> None:
        """Take note of the regions' instances; those of a silent source stay as they were."""
        query = Query(_selector(self._policy.signals[0]), self._id_labels)
        at = self._collector.grid_end(now)
        for region, ids in self._source.instances(query, at, self._collector.tick_s).items():
            if not isinstance(ids, Missing):
                self._instances[region] = tuple(Instance(id_) for id_ in ids)

    def _keep_up(self, region: str, now: float) -> None:
        """Compare a region, with the instances that there are now."""
        if region in self._renewals:
            self._renewals.discard(region)
            self._leave(region)
        ours = self._instances.get(region, ())
        theirs = tuple(i for r in self._regions if r != region for i in self._instances.get(r, ()))
        self._enrol(_against_others(region), region, ours, theirs, now)
        self._enrol(_against_history(region), region, theirs, ours, now)

    def _enrol(
        self,
        watch: str,
        region: str,
        canary: tuple[Instance, ...],
        baseline: tuple[Instance, ...],
        now: float,
    ) -> None:
        rollout = Rollout(
            workload=Workload("", "region", "Region", region),
            canary=Revision(region, region),
            baseline=Revision("others", "others"),
            canary_instances=canary,
            baseline_instances=baseline,
            id_labels=self._id_labels,
            started_at=now,
        )
        if watch not in self._rosters:
            self._comparison.join(watch, self._policy, self._id_labels)
            self._begun[region] = now
        warm_up_s = self._policy.warm_up_s if watch in self._rosters else 0.0
        before = self._rosters.get(watch, Roster())
        self._rosters[watch] = before.observe(rollout, now, warm_up_s)
        self._comparison.enrol(watch, self._rosters[watch])

    def _refresh(self, region: str, judgement: Judgement, found: Assessed, now: float) -> None:
        """Begin anew from time to time while nothing speaks against the region."""
        calm = judgement.e_value < CALM and found.standing is not Standing.SICK
        if calm and now - self._begun.get(region, now) >= FRESH_S:
            self._leave(region)

    def _leave(self, region: str) -> None:
        for watch in (_against_others(region), _against_history(region)):
            self._comparison.leave(watch)
            self._rosters.pop(watch, None)


def assessed(
    region: str, judgement: Judgement, drift: Mapping[str, float], company: Sequence[str] = ()
) -> Assessed:
    """Return what follows from both questions.

    Args:
        region: its name, for the text.
        judgement: of the region against the others.
        drift: evidence that the region is worse than its own history, by critical signal.
        company: the others, when most of them are worse than their own history, too.
    """
    text = "; ".join(r.text for r in judgement.reasons[:2]) or "nothing was measured yet"
    text = _in_regions(text, region)
    if judgement.blind:
        return Assessed(Standing.BLIND, text)
    worse = _beyond(drift, judgement.limit)
    named = {r.signal for r in judgement.reasons if r.strength > 0}
    if worse and company:
        as_well = f"worse than its own history, as most of {', '.join(company)}"
        return Assessed(Standing.SHARED, f"{as_well}: {text}")
    if judgement.verdict is Verdict.DEGRADED and named & set(worse):
        name = max(named & set(worse), key=lambda signal: worse[signal])
        own = f"{name} is worse than its own history (e-value {e_value(worse[name])})"
        return Assessed(Standing.SICK, f"{text}; {own}")
    if worse:
        # with the others or not: a region that is worse than it was takes nobody's traffic
        return Assessed(Standing.SHARED, f"worse than its own history: {text}")
    match judgement.verdict:
        case Verdict.DEGRADED:
            return Assessed(Standing.DIFFERENT, f"as before: {text}")
        case Verdict.SHARED_INCIDENT:
            what = "others are worse than their history, this one is not"
            return Assessed(Standing.UNDECIDED, f"{what}: {text}")
        case Verdict.HEALTHY:
            return Assessed(Standing.HEALTHY, text)
        case Verdict.INCONCLUSIVE:
            return Assessed(Standing.UNDECIDED, text)
        case _:
            assert_never(judgement.verdict)


def _in_regions(text: str, region: str) -> str:
    """Return a sentence about canary and baseline as one about regions."""
    for word, meant in (
        ("the baseline itself is worse than its own", "the others are worse than their own"),
        ("; not the canary's fault alone", ""),
        ("the canary", region),
        ("canary", region),
        ("baseline", "other"),
    ):
        text = text.replace(word, meant)
    return text


def drifts(policy: Policy, evidence: EvidenceOf) -> dict[str, float]:
    """Return the evidence of each critical signal that a region is worse than it used to be."""
    critical = {s.name for s in policy.signals if s.tier is Tier.CRITICAL}
    return {
        name: found.finding.drift_e
        for name, found in evidence.items()
        if name in critical and isinstance(found, Measured)
    }


def _beyond(drift: Mapping[str, float], limit: float) -> dict[str, float]:
    """Return the signals that are surely worse than they were."""
    return {name: e for name, e in drift.items() if e >= limit}


def _against_others(region: str) -> str:
    return f"region/{region}"


def _against_history(region: str) -> str:
    return f"history/{region}"


def _selector(signal: Signal) -> Selector:
    """Return the series that show which instances there are."""
    match signal:
        case RatioSignal(total=total) | IntervalSignal(total=Selector() as total):
            return total
        case TraceSignal():
            raise ValueError("regions are judged by metrics; the configuration lets no other pass")
        case _:
            return series_of(signal)
