"""Ready-made signals of a watch: found when it begins, and the same ever after."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import structlog

from analyzer.policy import Policy
from analyzer.ports import MetricSource
from analyzer.rollout import Rollout
from analyzer.sample import Absence, Missing
from analyzer.signal import RatioSignal, Signal, Tier
from rollbackd.catalogue import CATALOGUE, Discovery, discover
from rollbackd.catalogue.routes import with_routes
from rollbackd.policy_record import policy_from_json

log = structlog.get_logger(__name__)

PATIENCE_S = 120.0
"""A rollout whose instances expose nothing that the catalogue knows begins without signals after
this long: it ends inconclusive, and says why. New instances may need their first requests."""


class SignalFinder:
    """Fills in the signals of policies that ask for ready-made ones.

    Args:
        source: where the signals will be read from.
        settle_s: samples younger than this are not looked at.
    """

    def __init__(self, source: MetricSource, settle_s: float = 0.0) -> None:
        self._source = source
        self._settle_s = settle_s
        self._since: dict[str, float] = {}

    def complete(self, policy: Policy, rollout: Rollout, now: float) -> Policy | None:
        """Return the policy with its signals, or None while they cannot be known yet.

        What both sides expose is asked for: the canary alone may have nothing yet, and a signal
        that only the baseline has is missing on the canary, which is told.
        """
        if policy.discovers and not policy.signals:
            return self._discovered(policy, rollout, now)
        candidates = {s: (s.route or "",) for s in policy.signals if _untold(s)}
        return self._with_routes(policy, candidates, rollout, now)

    def _discovered(self, policy: Policy, rollout: Rollout, now: float) -> Policy | None:
        watch_id = rollout.watch_id
        instances = {i.id for i in (*rollout.baseline_instances, *rollout.canary_instances)}
        if not instances:
            return None
        waited = now - self._since.setdefault(watch_id, now)
        found = discover(
            self._source, CATALOGUE, rollout.id_labels, sorted(instances), now - self._settle_s
        )
        if isinstance(found, Missing):
            if found.reason is not Absence.NO_SERIES or waited < PATIENCE_S:
                log.warning("signals not known yet", watch=watch_id, reason=str(found))
                return None
            found = Discovery(())
        signals = found.signals
        if all(s.tier is Tier.INFO for s in signals) and waited < PATIENCE_S:
            return None
        complete = self._with_routes(
            replace(policy, signals=signals), found.candidates, rollout, now
        )
        if complete is not None:
            log.info("signals found", watch=watch_id, signals=[s.name for s in signals])
        return complete

    def _with_routes(
        self,
        policy: Policy,
        candidates: Mapping[RatioSignal, Sequence[str]],
        rollout: Rollout,
        now: float,
    ) -> Policy | None:
        """Return the policy with the routes of the baseline's requests, None while it is worth waiting.

        A source that cannot tell them holds no watch up for long: it begins without.
        """
        watch_id = rollout.watch_id
        waited = now - self._since.setdefault(watch_id, now)
        if policy.request_mix and candidates:
            baseline = [i.id for i in rollout.baseline_instances]
            at = now - self._settle_s
            told = with_routes(self._source, candidates, rollout.id_labels, baseline, at)
            if isinstance(told, Missing):
                if waited < PATIENCE_S:
                    log.warning("routes not known yet", watch=watch_id, reason=str(told))
                    return None
                log.warning("requests not told apart", watch=watch_id, reason=str(told))
            else:
                signals = tuple(
                    told.get(s, s) if isinstance(s, RatioSignal) else s for s in policy.signals
                )
                policy = replace(policy, signals=signals)
        del self._since[watch_id]
        return policy


def _untold(signal: Signal) -> TypeGuard[RatioSignal]:
    """Tell whether a person named the label of the signal's routes, and they are not known."""
    return isinstance(signal, RatioSignal) and signal.route is not None and not signal.routes


def resumed(
    policy: Policy, recorded: Mapping[str, Any] | None, *, after_promotion: bool = False
) -> Policy | None:
    """Return the policy of a watch that an earlier process began, with the signals it found then.

    One that guards a promoted revision keeps the policy that was made for it. None when that
    process ended before it had recorded them: the watch begins anew.
    """
    if not policy.discovers and not after_promotion:
        return _as_begun(policy, recorded)
    if recorded is None:
        return None
    if after_promotion:
        return policy_from_json(recorded)
    return replace(policy, signals=policy_from_json(recorded).signals)


def _as_begun(policy: Policy, recorded: Mapping[str, Any] | None) -> Policy:
    """Return a policy with the routes that were found for it when the watch began."""
    if recorded is None or not any(map(_untold, policy.signals)):
        return policy
    before = {s.name: s for s in policy_from_json(recorded).signals if isinstance(s, RatioSignal)}
    signals = tuple(
        replace(s, routes=before[s.name].routes)
        if _untold(s) and s.name in before and before[s.name].route == s.route
        else s
        for s in policy.signals
    )
    return replace(policy, signals=signals)
