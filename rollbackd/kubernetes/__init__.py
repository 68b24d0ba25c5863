"""Access to one Kubernetes API server: raw JSON calls and caches of what the cluster holds.

What may live here: credentials, calls with their time-outs and errors, reflectors. Nothing here
knows what a rollout is. Everything is raw JSON, because the typed models of the ``kubernetes``
client drop fields they do not know; that library is imported when a connection is first used.

What may not: meaning (``rollbackd.rollouts``), decisions (``analyzer``), changes (``actions``).
"""
