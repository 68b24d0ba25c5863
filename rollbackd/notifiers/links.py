"""Addresses that messages link to: a dashboard at that time, traces, a page, traces that show it."""

import string
from dataclasses import dataclass
from urllib.parse import quote

from rollbackd.views import ExampleView, WatchView

MARGIN_S = 600.0
"""Shown before a rollout began: what things looked like without it."""
FIELDS = (
    "cluster",
    "namespace",
    "kind",
    "name",
    "canary",
    "baseline",
    "watch",
    "from_ms",
    "to_ms",
)


@dataclass(frozen=True, slots=True)
class Links:
    """Templates with ``{field}``s; "" for a link that is not wanted."""

    dashboard: str = ""
    traces: str = ""
    page: str = ""

    def of(self, view: WatchView) -> dict[str, str]:
        """Return the addresses of a watch by what people call them; every value is quoted."""
        templates = {"Dashboard": self.dashboard, "Traces": self.traces, "Details": self.page}
        place = parts(view)
        values = {
            **place,
            "canary": view.canary,
            "baseline": view.baseline,
            "watch": view.id,
            "from_ms": str(round(1000 * (view.started_at - MARGIN_S))),
            "to_ms": str(round(1000 * view.updated_at)),
        }
        quoted = {key: quote(value, safe="") for key, value in values.items()}
        return {name: t.format_map(quoted) for name, t in templates.items() if t}


NO_LINKS = Links()

SHOWN_TRACES = {"canary": 3, "baseline": 1}
MAX_URL = 400
"""Characters; a longer address is left out, for messages are cut."""


def traces_of(view: WatchView) -> dict[str, str]:
    """Return the addresses of traces that show what was found, by what people call them.

    Three of the canary and one of the baseline, those of the strongest signals; only addresses that can be opened.
    """
    every = [e for signal in view.signals for e in signal.examples if opens(e.url)]
    found: dict[str, str] = {}
    for side, most in SHOWN_TRACES.items():
        mine = {e.url: e for e in every if e.side == side}
        for i, example in enumerate(list(mine.values())[:most]):
            label = _label(example)
            found[label if label not in found else f"{label} ({i + 1})"] = example.url
    return found


def opens(url: str) -> bool:
    """Tell whether an address can be opened from a message: of a page, readable, not cut."""
    readable = url.isprintable() and " " not in url and len(url) <= MAX_URL
    return readable and url.startswith(("http://", "https://"))


def _label(example: ExampleView) -> str:
    return f"{example.side}: {' '.join(example.operation.split())}"


def parts(view: WatchView) -> dict[str, str]:
    """Return cluster, namespace, kind and name of a watch's workload."""
    workload = view.id.rpartition("@")[0] or view.id
    found = workload.split("/", 3)
    found += [""] * (4 - len(found))
    return dict(zip(("cluster", "namespace", "kind", "name"), found, strict=True))


def unknown_fields(template: str) -> list[str]:
    """Return what a template asks for that there is not. Raises ValueError for broken braces."""
    asked = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    return [field for field in asked if field not in FIELDS]
