"""How a release train releases its next region: the plan, and the levers that carry it out.

What may live here: the plan (pure) and levers, each a ``Performer``. What may not: when a region is
released (``analyzer.trains.life``) and how regions are looked at (``rollbackd.trains``).
"""
