"""Which ready-made signals a source can answer for some instances: one query tells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from analyzer.ports import MetricSource
from analyzer.sample import Grid, Missing, Query, Series, restricted_to
from analyzer.signal import Matcher, RatioSignal, Selector, Signal
from rollbackd.catalogue.offer import Offer
from rollbackd.sources.label_regex import predicate

NAME: Final = "__name__"


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one offer. ``reason`` is "" when it is taken, else why not."""

    offer: Offer
    reason: str

    @property
    def taken(self) -> bool:
        """Whether a watch would use it."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Discovery:
    """What came of every offer, in the catalogue's order."""

    found: tuple[Found, ...]

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals that a watch would use; their weights come from the catalogue alone."""
        return tuple(each.offer.signal for each in self.found if each.taken)

    @property
    def candidates(self) -> dict[RatioSignal, tuple[str, ...]]:
        """Labels that may tell routes, by the signals that are taken."""
        taken = (each.offer for each in self.found if each.taken)
        return {
            offer.signal: offer.routes
            for offer in taken
            if offer.routes and isinstance(offer.signal, RatioSignal)
        }


def discover(
    source: MetricSource,
    offers: Sequence[Offer],
    id_labels: tuple[str, ...],
    instances: Iterable[tuple[str, ...]],
    at: float,
) -> Discovery | Missing:
    """Return which offers the source can answer at a moment, or why that is not known.

    Args:
        source: asked once.
        offers: the catalogue, the preferred first.
        id_labels: labels that identify an instance.
        instances: the values of these labels.
        at: seconds since the epoch.
    """
    (reply,) = source.fetch([_query(offers, id_labels, instances)], Grid(at, 1.0, 1))
    match reply:
        case Series() as series:
            return chosen(offers, _label_sets(series))
        case Missing() as missing:
            return missing


def chosen(offers: Sequence[Offer], series: Sequence[dict[str, str]]) -> Discovery:
    """Return what comes of each offer, given the labels of the series that exist."""
    by_name: dict[str, list[dict[str, str]]] = {}
    for labels in series:
        by_name.setdefault(labels[NAME], []).append(labels)
    taken: dict[str, Offer] = {}
    found = []
    for offer in offers:
        reason = _missing(offer, by_name.get(offer.needed.metric, []))
        claimed = next((taken[p] for p in sorted(offer.covers) if p in taken), None)
        if not reason and claimed is not None:
            reason = f"{claimed.convention} measures it already ({claimed.needed})"
        if not reason:
            taken |= dict.fromkeys(offer.covers, offer)
        found.append(Found(offer, reason))
    return Discovery(tuple(found))


def _query(
    offers: Sequence[Offer], id_labels: tuple[str, ...], instances: Iterable[tuple[str, ...]]
) -> Query:
    """Return the query of every name that an offer needs, with the labels that offers look at."""
    names = sorted({offer.needed.metric for offer in offers})
    asked = {m.label for o in offers for m in o.needed.matchers} | {
        label for offer in offers for label in offer.labels
    }
    by = (NAME, *id_labels, *sorted(asked - {NAME, *id_labels}))
    selector = Selector("", (Matcher(NAME, "=~", "|".join(names)),))
    return Query(selector, by, restricted_to(id_labels, instances))


def _label_sets(series: Series) -> list[dict[str, str]]:
    return [dict(zip(series.by, key, strict=True)) for key in series.keys]


def _missing(offer: Offer, series: Sequence[dict[str, str]]) -> str:
    """Return what is missing for an offer, "" for nothing."""
    needed = offer.needed
    if not series:
        return f"no {needed.metric} for these instances"
    accepts = [(m, predicate(m)) for m in needed.matchers]
    fitting = [s for s in series if all(test(s.get(m.label, "")) for m, test in accepts)]
    if not fitting:
        return f"no {needed} for these instances"
    absent = sorted(label for label in offer.labels if not any(s.get(label) for s in fitting))
    if absent:
        return f"{needed.metric} has no label {' or '.join(absent)}"
    return ""
