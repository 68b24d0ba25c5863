"""Messages as a page that looks like Slack: ``python -m tests.fakes.slack.paper PICTURE.png``.

For the documentation and for looking at what people look at; needs Chromium.
"""

import html
import re
import subprocess
import sys
import tempfile
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollbackd.notifiers.links import Links
from rollbackd.slack import blocks
from rollbackd.slack.picture import draw
from rollbackd.views import TimelineItem, WatchView
from tests.cli import sample_views

STYLE = """
body { font: 15px/1.46 Lato, "Noto Sans", "DejaVu Sans", sans-serif; color: #1d1c1d; margin: 0;
  padding: 18px 22px; width: 640px; background: #fff }
.who { font-weight: 900 } .app { background: #ddd; font-size: 10px; padding: 1px 3px; color: #616061;
  border-radius: 2px } .at { color: #616061; font-size: 12px }
h3 { font-size: 18px; margin: 6px 0 } p { margin: 8px 0; white-space: pre-wrap }
code { background: #f7f7f7; border: 1px solid #ddd; border-radius: 3px; color: #c7254e;
  font: 12px/1.5 "DejaVu Sans Mono", monospace; padding: 1px 3px; white-space: pre }
a { color: #1264a3; text-decoration: none } .context { color: #616061; font-size: 13px }
button { font: bold 14px sans-serif; border: 1px solid #bbb; border-radius: 4px; background: #fff;
  padding: 6px 12px; margin: 4px 8px 4px 0 }
.primary { background: #007a5a; color: #fff; border-color: #007a5a }
.danger { background: #e01e5a; color: #fff; border-color: #e01e5a }
.thread { border-left: 4px solid #ddd; margin-top: 14px; padding-left: 12px; font-size: 14px }
img { width: 480px; border: 1px solid #ddd; border-radius: 8px; margin-top: 8px }
hr { border: 0; border-top: 1px solid #ddd; margin: 18px 0 }
"""


def page(*messages: tuple[WatchView, bytes | None], links: Links) -> str:
    """Return messages as HTML, those that have a picture with their thread."""
    shown = [
        _message(view, links) + (_thread(view, picture) if picture else "")
        for view, picture in messages
    ]
    return f"<meta charset=utf-8><style>{STYLE}</style>{'<hr>'.join(shown)}"


def _message(view: WatchView, links: Links) -> str:
    content = "".join(_block(block) for block in blocks.message(view, links))
    return f"{_head(view.updated_at)}{content}"


def _head(at: float) -> str:
    time = f"{datetime.fromtimestamp(at, UTC):%H:%M}"
    return (
        f"<span class=who>rollbackd</span> <span class=app>APP</span> <span class=at>{time}</span>"
    )


def _thread(view: WatchView, picture: bytes) -> str:
    lines = "".join(_block(block) for block in blocks.thread(view.timeline))
    image = f'<img src="data:image/png;base64,{b64encode(picture).decode()}">'
    return f"<div class=thread>{_head(view.updated_at)}{lines}{image}</div>"


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"<h3>{_coloured(html.escape(block['text']['text']))}</h3>"
        case "section":
            return f"<p>{_mrkdwn(block['text']['text'])}</p>"
        case "context":
            return "".join(f"<p class=context>{_mrkdwn(e['text'])}</p>" for e in block["elements"])
        case _:
            return "".join(
                f"<button class={e.get('style', '')}>{html.escape(e['text']['text'])}</button>"
                for e in block["elements"]
            )


def _coloured(text: str) -> str:
    """Return text with signs that a machine without an emoji font can show."""
    for sign, color in {"🔴": "#d33", "🟠": "#f80", "🟡": "#dc0", "🔵": "#27d"}.items():
        text = text.replace(sign, f"<span style='color:{color}'>●</span>")
    return text


def _mrkdwn(text: str) -> str:
    """Return mrkdwn as HTML; its entities are HTML's."""
    text = re.sub(
        r"<!date\^(\d+)\^\{(\w+)\}\|[^>]*>",
        lambda m: (
            f"{datetime.fromtimestamp(int(m[1]), UTC):%H:%M{':%S' if 'secs' in m[2] else ''}}"
        ),
        text,
    )
    text = re.sub(r"<(https?[^|>]*)\|([^>]*)>", r'<a href="\1">\2</a>', text)
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    return re.sub(r"(^|\s)\*([^*\n]+)\*", r"\1<b>\2</b>", text)


def story() -> list[tuple[WatchView, bytes | None]]:
    """Return a message that waits for approval, and the same one at its end."""
    start = sample_views.START
    waiting = replace(
        sample_views.degraded(),
        mode="approve",
        phase="awaiting approval",
        plan_key="4f1d",
        note="waiting for approval: roll shop/checkout back to 5d9f1",
        plan="roll shop/checkout back to 5d9f1 (plan 4f1d)",
        signals=tuple(
            replace(s, unit="share" if s.kind == "ratio" else s.unit)
            for s in sample_views.degraded().signals
        ),
        outlook="waits 28 min more for approval: rollbackd approve shop/checkout",
        annotations={
            "rollbackd.io/author": "bob",
            "rollbackd.io/commit": "4be1a7c",
            "rollbackd.io/change-url": "https://git.example/shop/checkout/pull/418",
        },
        timeline=(
            TimelineItem(start + 60, "phase", "observing: comparing canary with baseline"),
            TimelineItem(start + 200, "phase", "degraded: errors 4.1 % vs 0.4 %, ×10 [×6, ×17]"),
            TimelineItem(start + 201, "phase", "awaiting approval: waiting for approval"),
        ),
    )
    acted = (
        TimelineItem(start + 260, "phase", "acting: approved by @ann"),
        TimelineItem(start + 275, "phase", "verifying: the action took effect"),
        TimelineItem(start + 395, "phase", "rolled back: recovered: errors 0.4 % now"),
    )
    ended = replace(
        waiting,
        phase="rolled back",
        final=True,
        decided_by="@ann",
        note="recovered",
        outlook="nothing more is done",
        updated_at=start + 395,
        timeline=waiting.timeline + acted,
    )
    return [(waiting, draw(waiting)), (ended, None)]


def main(picture: Path) -> None:
    """Write the story as a picture."""
    links = Links(
        "https://grafana.example/{name}", "https://tempo.example/{name}", "https://r/{watch}"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page(*story(), links=links), encoding="utf-8")
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--screenshot={picture.absolute()}", "--window-size=690,1330",
                f"--user-data-dir={folder}/profile", file.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
