"""Simulated rollouts of a traced shop, many at once, written into a ledger as the assembly would.

Each watch has a few pods that answer three kinds of requests with three kinds of calls. What pods do
is drawn with the noise that real ones have: they differ, requests come in shocks, errors in bursts,
and times wander. The canary does the same as the others, unless it is given a fault.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from rollbackd.traces.book import KeyKind, TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.measures import (
    ASSEMBLED,
    COUNTERS,
    DEPTH,
    DURATIONS,
    FAILED,
    INNER_BOUNDS,
    REPEATS,
    SELF_TIMES,
    SPANS,
)

Floats = NDArray[np.float64]

TICK_S = 10.0
BEGIN = 1_800_000_000.0
OPERATIONS = (
    ("GET /", 2), ("POST /order", 2), ("GET /report", 2),
    ("SELECT items", 3), ("GET cache", 3), ("POST pay", 3), ("POST audit", 3),
)  # fmt: skip
"""Names and kinds: requests, then calls."""
REQUESTS = 3
SELECT, CACHE, PAY, AUDIT = 3, 4, 5, 6
MIX = np.array([0.68, 0.3, 0.02])
CACHED = 0.6
"""Of the GET / that ask the cache."""
MEDIAN_S = np.array([0.12, 0.2, 0.4, 0.011, 0.0011, 0.08, 0.02])
OWN_S = np.array([0.06, 0.08, 0.3])
SPREAD = 0.5
"""Standard deviation of the logarithm of times."""
ERRORS = np.array([0.005, 0.01, 0.02, 0.001, 0.0005, 0.005, 0.001])
COMMON_TYPES = ("Timeout", "HTTP 503")
RARE_TYPES = 400


@dataclass(frozen=True, slots=True)
class Noise:
    """What innocent pods do; standard deviations are of logarithms.

    Attributes:
        canary, baseline: pods of each side. rate: requests of a pod in a second.
        pods_errors, pods_times, pods_mix: how much pods differ for as long as they live.
        shared: shocks of the traffic, the same for all pods of a watch.
        wander: AR(1) noise of a pod's error rate; times wander a tenth as much. carry: its factor.
        bursts: chance of a burst of errors of a pod in a tick; it lasts three ticks, ×30.
        kept: share of the traces that is sent. newest: traces of a watch that are read in a tick at
            most, as of Jaeger; 0: all.
        rare_types: share of errors whose type is one of hundreds.
    """

    canary: int = 3
    baseline: int = 6
    rate: float = 10.0
    pods_errors: float = 0.1
    pods_times: float = 0.02
    pods_mix: float = 0.03
    shared: float = 0.2
    wander: float = 0.0
    carry: float = 0.9
    bursts: float = 0.0
    kept: float = 1.0
    newest: int = 0
    rare_types: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the canary, from a tick on; as it is, nothing.

    Attributes:
        queries: SELECTs of one GET /. own: factor on what requests do themselves.
        bug: share of GET / that fail with an error type of their own.
        pays, caches: whether these calls are still made. audits: a call the baseline never made.
        orders: whether orders still come.
    """

    queries: int = 2
    own: float = 1.0
    bug: float = 0.0
    pays: bool = True
    caches: bool = True
    audits: bool = False
    orders: bool = True


@dataclass
class Streets:
    """So many watches with the same noise, in one book.

    Args:
        watches: how many. noise, fault: of all of them. seed: of everything.
    """

    watches: int
    noise: Noise
    fault: Fault
    seed: int
    book: TraceBook = field(init=False)
    rosters: list[Roster] = field(init=False)
    now: float = field(init=False, default=BEGIN)

    def __post_init__(self) -> None:
        """Give every pod its rows, and what makes it differ from others."""
        n, each = self.noise, self.noise.canary + self.noise.baseline
        self._dice = np.random.default_rng(self.seed)
        self.book = TraceBook(Catalogue(), retention_s=1800.0)
        self._pods = self.watches * each
        self._watch = np.repeat(np.arange(self.watches), each)
        self._is_canary = np.tile(np.arange(each) < n.canary, self.watches)
        self.book.catalogue.bounds = type(self.book.catalogue.bounds)(instances=self._pods)
        self._instances, rows = [], []
        for pod in range(self._pods):
            who = {"service.name": "shop", "k8s.pod.name": f"{self._watch[pod]}-{pod % each}"}
            instance = self.book.catalogue.instance(who)
            if instance is None:
                raise ValueError("no instance")
            self._instances.append(instance)
            rows.append([self._row(instance, *each_one) for each_one in OPERATIONS])
        self._rows = np.array(rows)
        draw = self._dice.normal
        self._errors = np.exp(draw(0, n.pods_errors, (self._pods, len(OPERATIONS))))
        self._times = np.exp(draw(0, n.pods_times, (self._pods, 1)))
        self._mix = np.exp(draw(0, n.pods_mix, (self._pods, REQUESTS)))
        self._wander = np.zeros(self._pods)
        self._bursting = np.zeros(self._pods)
        sides = [Side.CANARY] * n.canary + [Side.BASELINE] * n.baseline
        self._sides = sides

    def _row(self, instance: object, name: str, kind: int) -> int:
        return self.book.catalogue.row(instance, name, kind, templated=True)  # type: ignore[arg-type]

    def roster(self, watch: int) -> Roster:
        """Return who counts in a watch; the canary since now."""
        stays = (
            Stay((f"{watch}-{i}",), side, self.now if side is Side.CANARY else BEGIN)
            for i, side in enumerate(self._sides)
        )
        return Roster(tuple(stays))

    def tick(self, *, canary: bool, faulty: bool) -> None:
        """Let ten seconds pass. ``canary``: it is there. ``faulty``: with its fault."""
        self.now += TICK_S
        alive = ~self._is_canary | canary
        wrong = self._is_canary & faulty
        spans, repeats, edges = self._work(alive, wrong)
        failed, types = self._failures(spans, wrong)
        self._write(spans, repeats, failed, wrong)
        self._write_keys(edges, types)
        for pod in np.flatnonzero(alive).tolist():
            self._instances[pod].seen = self.now

    def _work(
        self, alive: NDArray[np.bool_], wrong: NDArray[np.bool_]
    ) -> tuple[Floats, Floats, dict[tuple[int, int], tuple[Floats, Floats]]]:
        """Return spans (pods, operations), repeated calls (pods, requests), and who called what.

        The latter as spans that made the call, and how often it was made.
        """
        n, fault, dice = self.noise, self.fault, self._dice
        shock = np.exp(dice.normal(0, n.shared, self.watches))[self._watch]
        mix = MIX * self._mix
        if not fault.orders:
            mix[wrong, 1] = 0.0
        expected = n.rate * TICK_S * shock * alive
        if n.newest:
            # the newest of all pods' traces: fewer of each, alike
            total = np.bincount(self._watch, expected)[self._watch]
            expected = expected * np.minimum(1.0, n.newest / np.maximum(total, 1.0))
        requests = dice.poisson(
            (expected * n.kept)[:, None] * mix / mix.sum(axis=1, keepdims=True)
        ).astype(np.float64)
        get, order, report = requests.T
        selects = np.where(wrong, fault.queries, 2.0) * get
        cached = dice.binomial(get.astype(int), CACHED) * np.where(wrong, fault.caches, 1.0)
        paid = order * np.where(wrong, fault.pays, 1.0)
        audited = order * np.where(wrong, fault.audits, 0.0)
        edges = {
            (0, SELECT): (get, selects), (0, CACHE): (cached, cached),
            (1, SELECT): (order, order), (1, PAY): (paid, paid),
            (1, AUDIT): (audited, audited), (2, SELECT): (report, report),
        }  # fmt: skip
        spans = np.stack(
            [get, order, report, selects + order + report, cached, paid, audited], axis=1
        )
        none = np.zeros(self._pods)
        return spans, np.stack([selects - get, none, none], axis=1), edges

    def _failures(
        self, spans: Floats, wrong: NDArray[np.bool_]
    ) -> tuple[Floats, list[tuple[int, int, str, float]]]:
        """Return failed spans, and their types: (pod, operation, type, count)."""
        n, dice = self.noise, self._dice
        self._wander = n.carry * self._wander + dice.normal(
            0, n.wander * np.sqrt(1 - n.carry**2), self._pods
        )
        self._bursting = np.maximum(self._bursting - 1, 3.0 * (dice.random(self._pods) < n.bursts))
        factor = np.exp(self._wander) * np.where(self._bursting > 0, 30.0, 1.0)
        share = np.minimum(ERRORS * self._errors * factor[:, None], 0.9)
        usual = dice.binomial(spans.astype(int), share).astype(np.float64)
        bug = dice.binomial(spans[:, 0].astype(int), np.where(wrong, self.fault.bug, 0.0))
        types = []
        for pod, operation in zip(*np.nonzero(usual), strict=True):
            count = int(usual[pod, operation])
            rare = int(dice.binomial(count, n.rare_types))
            some = int(dice.binomial(count - rare, 0.5))
            for kind, amount in zip(COMMON_TYPES, (some, count - rare - some), strict=True):
                types.append((int(pod), int(operation), kind, float(amount)))
            types += [
                (int(pod), int(operation), f"rare {chr(97 + which % 26)}{which}", 1.0)
                for which in dice.zipf(1.3, rare) % RARE_TYPES
            ]
        types += [(int(p), 0, "Bug", float(bug[p])) for p in np.flatnonzero(bug)]
        failed = usual.copy()
        failed[:, 0] = np.minimum(failed[:, 0] + bug, spans[:, 0])
        return failed, types

    def _write(
        self, spans: Floats, repeats: Floats, failed: Floats, wrong: NDArray[np.bool_]
    ) -> None:
        counts = np.zeros((self._pods, len(OPERATIONS), COUNTERS))
        counts[..., SPANS] = counts[..., ASSEMBLED] = spans
        counts[..., FAILED] = failed
        counts[:, :REQUESTS, REPEATS] = repeats
        counts[..., DEPTH] = spans
        counts[:, :REQUESTS, DEPTH] += spans[:, :REQUESTS]
        wander = np.exp(0.1 * self._wander)[:, None] * self._times
        own = np.where(wrong, self.fault.own, 1.0)[:, None] * wander
        longer = MEDIAN_S[:REQUESTS] * wander + OWN_S * (own - wander)
        whole = np.concatenate([longer, MEDIAN_S[REQUESTS:] * wander], axis=1)
        alone = np.concatenate([OWN_S * own, MEDIAN_S[REQUESTS:] * wander], axis=1)
        for columns, median in ((DURATIONS, whole), (SELF_TIMES, alone)):
            below = norm.cdf(np.log(INNER_BOUNDS / median[..., None]) / SPREAD)
            shares = np.diff(below, prepend=0.0, append=1.0, axis=-1)
            shares /= shares.sum(axis=-1, keepdims=True)
            counts[..., columns] = self._dice.multinomial(spans.astype(int), shares)
        flat = self._rows[..., None] * COUNTERS + np.arange(COUNTERS)
        there = counts > 0
        place, amount = flat[there], counts[there]
        order = np.argsort(place)
        with self.book.lock:
            self.book._add(self.now, place[order], amount[order])  # noqa: SLF001  as the assembly

    def _write_keys(
        self,
        edges: dict[tuple[int, int], tuple[Floats, Floats]],
        types: list[tuple[int, int, str, float]],
    ) -> None:
        found: list[tuple[int, KeyKind, str, float, float]] = []
        for (caller, called), (callers, often) in edges.items():
            name, _ = OPERATIONS[called]
            found += [
                (int(self._rows[pod, caller]), KeyKind.CALL, f"shop|client|{name}", *amounts)
                for pod, *amounts in zip(
                    np.flatnonzero(callers).tolist(),
                    callers[callers > 0].tolist(),
                    often[callers > 0].tolist(),
                    strict=True,
                )
            ]
        found += [
            (int(self._rows[pod, operation]), KeyKind.ERROR, kind, count, count)
            for pod, operation, kind, count in types
            if count
        ]
        with self.book.lock:
            self.book._write_keys(found, self.now)  # noqa: SLF001  as the assembly
