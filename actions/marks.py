"""Annotations with which we mark objects of others."""

HELD_BY = "rollbackd.io/held-by"
"""On what we hold, a GitOps owner or a paused Deployment: the watch that holds it."""
