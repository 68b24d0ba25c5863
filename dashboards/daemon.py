"""The daemon itself: does it tick, in time, and does it get its answers?"""

from dataclasses import replace

from grafana_foundation_sdk.builders.dashboard import Dashboard

from analyzer.sample import Absence
from dashboards.board import ALWAYS_THERE, board, either, selected
from dashboards.panels import (
    Caption,
    Curve,
    Panel,
    Scale,
    areas,
    coloured,
    curves,
    density,
    number,
)

UID = "rollbackd-daemon"

FAILURES = (
    Absence.SOURCE_DOWN,
    Absence.TIMEOUT,
    Absence.UNAUTHORISED,
    Absence.THROTTLED,
    Absence.PARTIAL,
    Absence.TOO_LARGE,
    Absence.INVALID,
)
"""Reasons that lie with the source or the way to it, and not with the series asked for."""

OUTCOME_COLORS = {"ok": "green", "failed": "red"}
COUNT = Scale("short", decimals=0)
ANY_IS_BAD = replace(COUNT, limits=((1, "red"),))


def daemon() -> Dashboard:
    """Return the dashboard."""
    caption = Caption(
        "rollbackd / Daemon",
        "Whether rollbackd does its work: ticks, queries to the metric source, jobs, faults.",
    )
    return board(
        UID,
        caption,
        (
            ("Health", _health()),
            ("Ticks", _ticks()),
            ("Queries", _queries()),
            ("Leader, queue and cache", _state()),
            ("Errors", _errors()),
            ("Faults", _faults()),
        ),
    )


def _health() -> tuple[Panel, ...]:
    queries = selected("rollbackd_fetches_total")
    return (
        number(
            Caption("Daemons", "Processes that answer the scrapes."),
            f"count({selected(ALWAYS_THERE)})",
            COUNT,
        ),
        number(
            Caption("Last tick", "Age of the oldest last tick. No tick: nothing is watched."),
            f"max(time() - {selected(ALWAYS_THERE)})",
            Scale("s", limits=((60, "yellow"), (120, "red"))),
        ),
        number(
            Caption("Failed ticks", "In the time shown. A failed tick looked at nothing."),
            _in_range("rollbackd_ticks_total", 'outcome="failed"'),
            ANY_IS_BAD,
        ),
        number(
            Caption("Failed queries", "Share of the queries in the time shown."),
            f"sum(increase({_failed_queries()}[$__range])) "
            f"/ (sum(increase({queries}[$__range])) > 0) or vector(0)",
            Scale("percentunit", limits=((0.01, "yellow"), (0.1, "red"))),
        ),
        number(
            Caption("Missed jobs", "In the time shown: skipped, because the run before went on."),
            _in_range("rollbackd_runs_missed_total"),
            ANY_IS_BAD,
        ),
        number(
            Caption("Watches broken", "In the time shown: ended by an error of rollbackd's own."),
            _in_range("rollbackd_watch_faults_total"),
            ANY_IS_BAD,
        ),
    )


def _ticks() -> tuple[Panel, ...]:
    seconds = "rollbackd_tick_duration_seconds"
    buckets = f"sum by (le) (rate({selected(f'{seconds}_bucket')}[$__rate_interval]))"
    total = f"sum(rate({selected(f'{seconds}_sum')}[$__rate_interval]))"
    count = f"sum(rate({selected(f'{seconds}_count')}[$__rate_interval]))"
    ticks = f"sum by (outcome) (rate({selected('rollbackd_ticks_total')}[$__rate_interval]))"
    return (
        curves(
            Caption(
                "Duration of a tick",
                "All watches together. It must stay well below the configured tick; beyond it, "
                "runs are skipped (missed jobs).",
            ),
            [
                Curve(f"histogram_quantile(0.99, {buckets})", "99 % are shorter", exemplars=True),
                Curve(f"histogram_quantile(0.5, {buckets})", "half are shorter"),
                Curve(f"{total} / {count}", "mean"),
            ],
            Scale("s"),
        ),
        density(Caption("Durations", "How many ticks a second took how long."), buckets, "s"),
        coloured(
            areas(
                Caption("Ticks", "By outcome. At the default, a tick every 10 s is 0.1 a second."),
                Curve(ticks, "{{outcome}}"),
                Scale("cps"),
            ),
            OUTCOME_COLORS,
        ),
        curves(
            Caption("Age of the last tick", "A saw-tooth as high as the configured tick."),
            [Curve(f"time() - {selected(ALWAYS_THERE)}", "{{instance}}")],
            Scale("s", limits=((120, "red"),)),
        ),
    )


def _queries() -> tuple[Panel, ...]:
    queries = selected("rollbackd_fetches_total")
    failed, every = (
        f"sum(rate({series}[$__rate_interval]))" for series in (_failed_queries(), queries)
    )
    return (
        coloured(
            areas(
                Caption(
                    "Queries to the metric source",
                    "By outcome. Their number grows with the signals, not with the rollouts; none "
                    "are asked while nothing is rolled out.",
                ),
                Curve(f"sum by (outcome) (rate({queries}[$__rate_interval]))", "{{outcome}}"),
                Scale("reqps"),
            ),
            OUTCOME_COLORS,
        ),
        curves(
            Caption(
                "Share of failed queries",
                "Failed for a reason of the source. Rollouts are held meanwhile, never rolled back.",
            ),
            [Curve(f"{failed} / ({every} > 0) or vector(0)", "failed")],
            Scale("percentunit", limits=((0.5, "red"),), maximum=1.0),
        ),
    )


def _state() -> tuple[Panel, ...]:
    leader, jobs = selected("rollbackd_leader"), selected("rollbackd_jobs")
    objects, age = selected("rollbackd_cache_objects"), selected("rollbackd_cache_age_seconds")
    return (
        curves(
            Caption(
                "Leaders",
                "Exactly one acts. None: nobody watches. Two for longer than a scrape: their clocks "
                "of scraping differ, or they are two installations.",
            ),
            [Curve(f"sum({leader})", "leaders"), Curve(f"count({leader})", "replicas")],
            Scale("short", decimals=0),
        ),
        curves(
            Caption(
                "Jobs in hand",
                "Plans that are being made or carried out, or wait for one of four workers.",
            ),
            [Curve(f"sum by (kind) ({jobs})", "{{kind}}")],
            COUNT,
        ),
        areas(
            Caption("Objects kept of the cluster", "Of the leader and each follower alike."),
            Curve(f"max by (collection) ({objects})", "{{collection}}"),
            COUNT,
        ),
        curves(
            Caption(
                "Age of the caches",
                "Since the API server was last heard of, the oldest of each. Without news it sends "
                "a bookmark each minute; a stale cache says nothing, and is not believed.",
            ),
            [Curve(f"max by (collection) ({age}) or vector(0)", "{{collection}}")],
            Scale("s", limits=((120, "red"),)),
        ),
    )


def _errors() -> tuple[Panel, ...]:
    notified = selected("rollbackd_notifications_total", 'outcome=~"retried|failed|dropped"')
    acted = selected("rollbackd_actions_total", 'outcome="failed"')
    ports = (
        (f"increase({_failed_queries()}[1h])", "metric source"),
        (f"increase({selected('rollbackd_journal_failures_total')}[1h])", "journal"),
        (f"increase({acted}[1h])", "actions"),
        (f"increase({notified}[1h])", "notifiers"),
        (f"increase({selected('rollbackd_requests_refused_total')}[1h])", "requests from Slack"),
    )
    rights = selected("rollbackd_rights_missing")
    return (
        curves(
            Caption(
                "Errors by port in the hour before",
                "What went wrong between rollbackd and the world, by whom it spoke with.",
            ),
            [Curve(f"sum({promql}) or vector(0)", name) for promql, name in ports],
            COUNT,
        ),
        curves(
            Caption(
                "Cannot see, may not",
                "Sources that do not tell their rollouts, and rights in the cluster that are missing.",
            ),
            [
                Curve(
                    f"sum(1 - {selected('rollbackd_rollout_source_up')})", "sources of rollouts"
                ),
                Curve(f"max by (use) ({rights})", "rights missing to {{use}}"),
            ],
            replace(COUNT, limits=((1, "red"),)),
        ),
    )


def _faults() -> tuple[Panel, ...]:
    # Prometheus renames our label `job`, which collides with its own.
    missed = selected("rollbackd_runs_missed_total")
    faults = selected("rollbackd_watch_faults_total")
    return (
        curves(
            Caption("Missed jobs in the hour before", "By job; housekeeping runs once an hour."),
            [Curve(f"sum by (task) (increase({missed}[1h]))", "{{task}}")],
            COUNT,
        ),
        curves(
            Caption(
                "Broken watches in the hour before", "Each is a bug: the log has its traceback."
            ),
            [Curve(f"sum by (instance) (increase({faults}[1h]))", "{{instance}}")],
            COUNT,
        ),
    )


def _failed_queries() -> str:
    return selected("rollbackd_fetches_total", f'outcome=~"{either(FAILURES)}"')


def _in_range(metric: str, matchers: str = "") -> str:
    return f"round(sum(increase({selected(metric, matchers)}[$__range])))"
