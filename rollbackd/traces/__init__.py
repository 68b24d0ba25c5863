"""Traces as evidence: spans come in, are reduced at once to counts per instance and operation.

``otlp`` decodes, ``assembly`` finds parents and children, ``ledger`` keeps the counts by time, and
``counters`` answers the questions of ``analyzer`` from it. ``receiver`` is where spans are pushed
to; ``tempo`` and ``jaeger`` fetch what a backend knows and feed the same ledger. No span is kept
longer than its assembly takes, but for a few example trace ids.
"""
