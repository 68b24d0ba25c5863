"""Where rollouts come from: the Kubernetes API, or named groups of static targets.

What may live here: adapters of ``analyzer.ports.RolloutSource``, and the pure functions that tell
from what was observed which revision is the canary and which the baseline.

What may not: how to call the API server (``rollbackd.kubernetes``), what to think of a rollout
(``analyzer``).
"""
