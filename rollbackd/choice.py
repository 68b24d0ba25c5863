"""Which watch a person means, from what they type."""

from collections.abc import Sequence
from difflib import get_close_matches

from rollbackd.views import WatchView


class NoSuchWatch(ValueError):
    """None or several fit; says what there is."""


def chosen(wanted: str, views: Sequence[WatchView]) -> WatchView:
    """Return the watch with this id or, when there is just one, of this workload.

    Of several watches of one workload the first is meant: give the youngest first.

    Raises:
        NoSuchWatch: none or several workloads fit.
    """
    named = exact(wanted, views)
    if named is not None:
        return named
    loose = [v for v in views if wanted in v.id]
    if loose:
        return _only(wanted, loose)
    names = sorted({v.workload for v in views})
    close = get_close_matches(wanted, [*names, *(n.rpartition("/")[2] for n in names)], n=1)
    hint = f'; did you mean "{close[0]}"?' if close else "; rollbackd status lists them"
    raise NoSuchWatch(f'there is no watch "{wanted}"{hint}')


def exact(wanted: str, views: Sequence[WatchView]) -> WatchView | None:
    """Return the watch with this id, or the first of the one workload with this name, or None.

    Raises:
        NoSuchWatch: workloads of several namespaces or kinds have this name.
    """
    for view in views:
        if view.id == wanted:
            return view
    named = [v for v in views if wanted in {v.workload, v.workload.rpartition("/")[2]}]
    return _only(wanted, named) if named else None


def _only(wanted: str, fitting: Sequence[WatchView]) -> WatchView:
    workloads = sorted({v.id.rpartition("@")[0] for v in fitting})
    if len(workloads) > 1:
        raise NoSuchWatch(f'"{wanted}" fits {", ".join(workloads)}: say which')
    return fitting[0]
