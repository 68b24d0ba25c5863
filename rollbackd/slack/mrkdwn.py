"""Text as Slack shows it, safe whatever a workload, a commit or a person is called."""

import unicodedata

from rollbackd.notifiers.wording import clock

SECTION = 3000
"""Characters in a section's text."""
HEADER = 150
CONTEXT = 2000

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_BARS = "▁▂▃▄▅▆▇█"


def plain(text: str, most: int) -> str:
    """Return text on one line without control and direction characters, cut to ``most``."""
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or _shows(c))
    line = " ".join(kept.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _shows(character: str) -> bool:
    """Tell whether a character is one that people see: no control, no change of direction."""
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}


def escape(text: str, most: int = 300) -> str:
    """Return foreign text for mrkdwn: no mention, no link, no command can come of it."""
    return plain(text, most).translate(_ENTITIES)


def code(text: str, most: int = 120) -> str:
    """Return foreign text as code, in which nothing is formatted either."""
    inner = plain(text, most).replace("`", "´") or " "
    return f"`{inner.translate(_ENTITIES)}`"


def link(url: str, label: str) -> str:
    """Return a link; ``url`` comes from our templates or passed ``wording.change``."""
    target = url.translate(_ENTITIES).replace("|", "%7C")
    return f"<{target}|{escape(label, 80).replace('|', '¦')}>"


def moment(at: float, pattern: str = "{time}") -> str:
    """Return a time that each reader sees in their own zone."""
    return f"<!date^{int(at)}^{pattern}|{clock(at)}>"


def fitted(lines: list[str], most: int = SECTION) -> str:
    """Return as many whole lines as fit; what is left out is said."""
    kept: list[str] = []
    room = most - 40
    for i, line in enumerate(lines):
        if len(line) + 1 > room:
            return "\n".join([*kept, f"… and {len(lines) - i} more lines"])
        kept.append(line)
        room -= len(line) + 1
    return "\n".join(kept)


def sparkline(values: list[float | None], width: int = 30, most: float | None = None) -> str:
    """Return a series as a line of bars, from 0 to ``most``; unknown values are gaps."""
    recent = values[-width:]
    known = [v for v in recent if v is not None]
    top = most if most is not None else max(known, default=0.0)
    if not known or top <= 0:
        return ""
    last = len(_BARS) - 1
    return "".join(
        " " if v is None else _BARS[round(last * min(1.0, max(0.0, v / top)))] for v in recent
    )
