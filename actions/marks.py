"""Annotations with which we mark objects of others."""

HELD_BY = "rollbackd.io/held-by"
"""On what we hold, a GitOps owner or a paused Deployment: the watch that holds it."""

COMMIT = "rollbackd.io/commit"
"""On a workload, by whoever deploys it: the commit that its newest change came from."""

RELEASED_BY = "rollbackd.io/released-by"
"""On a workload that a release train let go: the step that did it."""
