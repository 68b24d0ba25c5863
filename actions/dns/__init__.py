"""DNS records as values, the port that reads and swaps them, and one adapter per provider.

What may live here: ``record`` (pure), the port ``DnsBackend``, its adapters, the question to the
authoritative servers, and ``DnsSwitch``, which carries out the steps of a plan on records.

What may not: decisions about regions (``analyzer.regions.life``, ``actions.regions``) and configuration.
"""
