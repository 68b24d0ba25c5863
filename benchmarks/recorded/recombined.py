"""More healthy cases out of the healthy recordings: other stretches are called canary and baseline.

Whatever is called canary, all of it is the same healthy service, so every alarm is a false one.
The cases share stretches, so a percentage of them is worth less than as many independent cases.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.recorded.scoring import Case

LARGE: Final = 1.5
"""A mean this many times worse is a difference that no judge of the signals can tell from harm."""
PER_SERVICE: Final = 40
"""Recombinations of one service, at most."""

Stretch = Mapping[str, Sequence[float | None]]
"""One instance of one stretch of time: the values of every metric by its name."""


def recombined(cases: Iterable[Case], seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield healthy cases in which other stretches than the recorded ones are the canary.

    For cases whose baseline is another time: any stretches of the same service, as many as there
    were. For cases whose sides ran at the same time: each instance in turn.

    Args:
        cases: recorded cases; only those without a fault are used.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    pools: dict[object, tuple[Case, list[Stretch]]] = {}
    for case in cases:
        if case["kind"] != "aa":
            continue
        if case["pairing"] == "concurrent":
            yield from _turned(case)
            continue
        key = (case["source"], case["service"], case["step_s"], case["duration_s"], *_names(case))
        _, pool = pools.setdefault(key, (case, []))
        pool.extend(s for s in _stretches(case) if s not in pool)
    for model, pool in pools.values():
        yield from _drawn(model, pool, rng)


def _names(case: Case) -> tuple[str, ...]:
    return tuple(m["name"] for m in case["metrics"])


def _stretches(case: Case) -> list[Stretch]:
    sides = [(side, name) for side in ("baseline", "canary") for name in _instances(case, side)]
    return [
        {m["name"]: m[side].get(name, [None] * len(m["t"])) for m in case["metrics"]}
        for side, name in sides
    ]


def _instances(case: Case, side: str) -> list[str]:
    return sorted({name for m in case["metrics"] for name in m[side]})


def _turned(case: Case) -> Iterator[dict[str, Any]]:
    """Let each baseline instance be the canary once."""
    stretches = _stretches(case)
    for i in range(len(_instances(case, "baseline"))):
        others = stretches[:i] + stretches[i + 1 :]
        yield _with(case, stretches[i], others, f"turned-{i}")


def _drawn(
    model: Case, pool: Sequence[Stretch], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Draw distinct choices of a canary and its baselines, none of them the recorded order."""
    behind = min(len(_instances(model, "baseline")), len(pool) - 1)
    seen: set[tuple[int, ...]] = {(len(pool) - 1, *range(behind))}
    for _ in range(4 * PER_SERVICE):
        canary, *baseline = (int(i) for i in rng.permutation(len(pool))[: behind + 1])
        choice = (canary, *sorted(baseline))
        if len(seen) > PER_SERVICE or choice in seen:
            continue
        seen.add(choice)
        name = "drawn-" + "-".join(map(str, choice))
        yield _with(model, pool[canary], [pool[i] for i in baseline], name)


def _with(model: Case, canary: Stretch, baseline: Sequence[Stretch], name: str) -> dict[str, Any]:
    metrics = [
        {
            **m,
            "canary": {"canary": list(canary[m["name"]])},
            "baseline": {f"b{i}": list(s[m["name"]]) for i, s in enumerate(baseline)},
        }
        for m in model["metrics"]
    ]
    alike = all(_alike(m) for m in metrics)
    return {
        **model,
        "id": f"{model['id']}-{name}",
        "metrics": metrics,
        "effect_class": "none" if alike else "service",
        "contaminated": False,
    }


def _alike(metric: Mapping[str, Any]) -> bool:
    """Tell whether the means of both sides differ by less than `LARGE` in a harmful direction."""
    means = []
    for side in ("canary", "baseline"):
        values = [v for row in metric[side].values() for v in row if v is not None]
        means.append(float(np.mean(values)) if values else np.nan)
    canary, baseline = means
    up = metric["direction"] in ("higher-is-worse", "both") and metric["role"] != "traffic"
    down = metric["direction"] in ("lower-is-worse", "both")
    return not ((up and canary > LARGE * baseline) or (down and canary < baseline / LARGE))
