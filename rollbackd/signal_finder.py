"""Ready-made signals of a watch: found when it begins, and the same ever after."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from analyzer.policy import Policy
from analyzer.ports import MetricSource
from analyzer.rollout import Rollout
from analyzer.sample import Absence, Missing
from analyzer.signal import Tier
from rollbackd.catalogue import CATALOGUE, Discovery, discover
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
        if not policy.discovers or policy.signals:
            return policy
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
        del self._since[watch_id]
        log.info("signals found", watch=watch_id, signals=[s.name for s in signals])
        return replace(policy, signals=signals)


def resumed(
    policy: Policy, recorded: Mapping[str, Any] | None, *, after_promotion: bool = False
) -> Policy | None:
    """Return the policy of a watch that an earlier process began, with the signals it found then.

    One that guards a promoted revision keeps the policy that was made for it. None when that
    process ended before it had recorded them: the watch begins anew.
    """
    if not policy.discovers and not after_promotion:
        return policy
    if recorded is None:
        return None
    if after_promotion:
        return policy_from_json(recorded)
    return replace(policy, signals=policy_from_json(recorded).signals)
