"""Grafana dashboards as code, and the Prometheus rules that go with them.

``python -m dashboards`` writes ``json/``; ``rules/`` is written by hand and tested by ``promtool``.
The Helm chart reads both. Nothing of the daemon imports this package; it may import the daemon's
vocabulary (phases, reasons), so that a panel cannot name one that does not exist.
"""
