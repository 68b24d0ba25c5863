"""Slack's limits of messages and views, as its documentation gives them."""

from collections.abc import Iterator
from typing import Any

MAX_TEXT = 40_000
_MOST_BLOCKS = {"message": 50, "home": 100}
_TEXTS = {"section": 3000, "header": 150}
_STYLES = {None, "primary", "danger"}


def problems(blocks: list[dict[str, Any]], surface: str) -> Iterator[str]:
    """Yield what Slack would refuse of a list of blocks."""
    if len(blocks) > _MOST_BLOCKS[surface]:
        yield f"no more than {_MOST_BLOCKS[surface]} blocks"
    for block in blocks:
        match block["type"]:
            case "section" | "header" as kind:
                yield from _text(block["text"], _TEXTS[kind])
                if kind == "header" and block["text"]["type"] != "plain_text":
                    yield "a header is plain text"
            case "context":
                if not 1 <= len(block["elements"]) <= 10:
                    yield "1 to 10 elements of a context"
                for element in block["elements"]:
                    yield from _text(element, 2000)
            case "actions":
                yield from _actions(block["elements"])
            case kind:
                yield f"unknown block {kind}"


def _actions(elements: list[dict[str, Any]]) -> Iterator[str]:
    if not 1 <= len(elements) <= 25:
        yield "1 to 25 elements of actions"
    ids = [element["action_id"] for element in elements]
    if len(set(ids)) < len(ids):
        yield "action_id is there twice"
    for button in elements:
        yield from _text(button["text"], 75)
        if len(button["action_id"]) > 255:
            yield "action_id of 255 at most"
        if len(button.get("value", "")) > 2000:
            yield "value of 2000 at most"
        if button.get("style") not in _STYLES:
            yield f"style {button.get('style')}"
        confirm = button.get("confirm")
        if confirm is not None:
            for part, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
                yield from _text(confirm[part], most)


def _text(text: dict[str, Any], most: int) -> Iterator[str]:
    if text["type"] not in {"plain_text", "mrkdwn"}:
        yield f"text of type {text['type']}"
    if not 1 <= len(text["text"]) <= most:
        yield f"text of {len(text['text'])}, not 1 to {most}"
    if unknown := set(text) - {"type", "text", "emoji", "verbatim"}:
        yield f"unknown keys {unknown}"
    if text["type"] == "plain_text" and "verbatim" in text:
        yield "verbatim is for mrkdwn"
