"""The message of each rollout, region or train: posted once, then updated; its course is a thread."""

from collections.abc import Callable

import structlog
from slack_sdk import WebClient

from actions.ports import ActionError
from analyzer.watch import Phase
from rollbackd.notifiers.links import Links
from rollbackd.notifiers.port import Memo, Throttled
from rollbackd.slack import blocks
from rollbackd.slack.errors import Gone, translated
from rollbackd.slack.mrkdwn import escape
from rollbackd.views import TimelineItem, WatchView

log = structlog.get_logger()

PICTURED = frozenset(
    {
        Phase.DEGRADED,
        Phase.AWAITING_APPROVAL,
        Phase.ACTING,
        Phase.REPORTED,
        Phase.ROLLED_BACK,
        Phase.NEEDS_HUMAN,
    }
)
"""Phases that a picture belongs to: the case against the canary, and how it ended."""

Draw = Callable[[WatchView], bytes | None]
"""Makes a PNG of a watch, or None when there is nothing to draw or nothing to draw with."""


class SlackMessenger:
    """Implements ``Notifier``.

    The memo holds the message's channel and ``ts``, how far the thread has come, and whether a
    picture of the case and one of the end were shown.

    Args:
        client: with the bot's token. channel: id of the channel to post in.
        links: what messages link to. draw: makes the pictures.
    """

    def __init__(self, client: WebClient, channel: str, links: Links, draw: Draw) -> None:
        self._client = client
        self._channel = channel
        self._links = links
        self._draw = draw

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Post or update the message, then tell in its thread what happened since."""
        self._show(view, memo)
        self._continue(view, memo)
        self._illustrate(view, memo)

    def _show(self, view: WatchView, memo: Memo) -> None:
        text, content = blocks.fallback(view), blocks.message(view, self._links)
        if "ts" in memo.data:
            try:
                with translated("message not updated"):
                    self._client.chat_update(
                        channel=memo.data["channel"],
                        ts=memo.data["ts"],
                        text=text,
                        blocks=content,
                    )
            except Gone as error:
                log.info("message posted anew", watch=view.id, reason=str(error))
            else:
                return
        with translated("message not posted"):
            posted = self._client.chat_postMessage(
                channel=self._channel,
                text=text,
                blocks=content,
                unfurl_links=False,
                unfurl_media=False,
            )
        memo.keep(channel=str(posted["channel"]), ts=str(posted["ts"]))

    def _continue(self, view: WatchView, memo: Memo) -> None:
        at, count = memo.data.get("told", (0.0, 0))
        news = untold(view.timeline, at, count)
        if not news:
            return
        with translated("thread not continued"):
            self._client.chat_postMessage(
                channel=memo.data["channel"],
                thread_ts=memo.data["ts"],
                text=escape(news[-1].text),
                blocks=blocks.thread(news),
                unfurl_links=False,
                unfurl_media=False,
            )
        last = news[-1].at
        memo.keep(told=[last, sum(item.at == last for item in view.timeline)])

    def _illustrate(self, view: WatchView, memo: Memo) -> None:
        """Show a picture, once for the case and once for the end.

        It is not worth more than a try: what is told must not wait for a missing right to upload.
        """
        # what was reported may still be rolled back, if somebody wants it
        which = "end" if view.final and view.phase != Phase.REPORTED else "case"
        if view.phase not in PICTURED or which in memo.data.get("pictures", ()):
            return
        picture = self._drawn(view)
        if picture is None:
            return
        try:
            with translated("picture not uploaded"):
                self._client.files_upload_v2(
                    content=picture,
                    filename=f"{which}.png",
                    title=blocks.fallback(view),
                    alt_txt=f"canary against baseline, {view.workload}",
                    channel=memo.data["channel"],
                    thread_ts=memo.data["ts"],
                )
        except Throttled:
            raise
        except ActionError as error:
            log.warning("picture not shown", watch=view.id, error=str(error))
        memo.keep(pictures=[*memo.data.get("pictures", ()), which])

    def _drawn(self, view: WatchView) -> bytes | None:
        try:
            return self._draw(view)
        except Exception:  # a picture is an extra: it never keeps people from being told
            log.exception("picture not drawn", watch=view.id)
            return None

    def close(self) -> None:
        """Release nothing: every call has a connection of its own."""


def untold(timeline: tuple[TimelineItem, ...], at: float, count: int) -> list[TimelineItem]:
    """Return what happened after ``at``, or at it beyond the first ``count`` items."""
    same = [item for item in timeline if item.at == at][count:]
    return [*same, *(item for item in timeline if item.at > at)]
