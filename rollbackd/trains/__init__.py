"""Release trains as the daemon conducts them: over regions, each judged by its own daemon.

What may live here: stations (how a region's daemon is asked), the conductor, and their wiring.
Decisions are those of ``analyzer.trains.life``, levers those of ``actions.trains``.
"""
