"""Ready-made signals, found from what the source exposes for the instances of a rollout.

``offer``: what one entry of the catalogue is. ``requests``, ``calls``, ``runtimes``, ``resources``: the
entries.
``discovery``: which of them a source can answer. ``page``: the reference page. Data and pure
functions; only ``discovery`` asks a source, with one query.
"""

from rollbackd.catalogue.calls import CALLS
from rollbackd.catalogue.discovery import Discovery, Found, discover
from rollbackd.catalogue.offer import Offer
from rollbackd.catalogue.requests import REQUESTS
from rollbackd.catalogue.resources import RESOURCES
from rollbackd.catalogue.runtimes import RUNTIMES

CATALOGUE: tuple[Offer, ...] = (*REQUESTS, *CALLS, *RUNTIMES, *RESOURCES)
"""Every ready-made signal, the preferred of each purpose first."""

__all__ = ["CATALOGUE", "Discovery", "Found", "Offer", "discover"]
