"""Dashboards, rules and runbooks, held against the metrics that the daemon exports."""
