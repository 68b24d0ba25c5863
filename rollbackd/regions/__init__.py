"""Regions as the daemon follows them: evidence, moves, and what people see and order.

What may live here: the source that reads every region's metrics, the assessor, the mover, the
keeper that joins them, and their wiring. Decisions are those of ``analyzer.regions.life`` and
``actions.regions``.
"""
