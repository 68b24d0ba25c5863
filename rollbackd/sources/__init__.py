"""Adapters of ``analyzer.ports.MetricSource``: where samples come from.

What may live here: one file for each source (Prometheus, the built-in scraper, recorded files) and
what they share (the series store, the text format, credentials, the reading of HTTP replies).
Every trouble of a source is translated here, at the border, into ``Missing`` with its reason.

What may not: decisions. A source neither fills gaps nor differences counters nor judges; it
answers what was observed at each time of the grid, or says why it cannot.
"""
