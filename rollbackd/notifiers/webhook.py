"""Any web service: a signed POST for every state of a watch, its body made by a template."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import requests
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from actions.ports import Permanent, Transient
from rollbackd.config.secrets import Secret, SecretError
from rollbackd.notifiers.http_post import Gone, send
from rollbackd.notifiers.links import Links
from rollbackd.notifiers.port import Memo
from rollbackd.notifiers.wording import headline, severity, strongest, summary
from rollbackd.views import WatchView
from rollbackd.views_json import view_to_json

MAX_BODY = 256 * 1024
"""A template that makes more is not meant so."""


class Webhook:
    """Implements ``Notifier``.

    A receiver verifies ``X-Rollbackd-Signature``, the HMAC-SHA256 of ``TIMESTAMP.BODY`` in hex,
    refuses old timestamps, and knows a repeated delivery by ``X-Rollbackd-Delivery``.

    Args:
        url: where to, or where that is kept. secret: key of the signature, or None for none.
        template: of the body, in Jinja; "" for the whole view as JSON. content_type: of the body.
        links: told beside the view. now: seconds since the epoch.

    Raises:
        ValueError: the template is none.
    """

    def __init__(
        self,
        url: str | Secret,
        *,
        secret: Secret | None,
        template: str,
        content_type: str,
        links: Links,
        now: Callable[[], float],
    ) -> None:
        self._url = url
        self._secret = secret
        self._content_type = content_type
        self._links = links
        self._now = now
        self._session = requests.Session()
        # a template is the administrator's, what fills it is not: no code, no attributes
        jinja = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        jinja.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": False}
        try:
            self._template = jinja.from_string(template) if template else None
        except TemplateError as error:
            raise ValueError(f"the webhook's template is none: {error}") from error

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Post the state."""
        body = self._body(view, memo.delivery)
        headers = {
            "Content-Type": self._content_type,
            "User-Agent": "rollbackd",
            # ids of watches may hold what headers cannot
            "X-Rollbackd-Delivery": hashlib.sha256(memo.delivery.encode()).hexdigest()[:32],
        }
        try:
            url = self._url if isinstance(self._url, str) else self._url.read()
            key = None if self._secret is None else self._secret.read()
        except SecretError as error:
            raise Transient(str(error)) from error
        if key is not None:
            timestamp = str(int(self._now()))
            signed = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
            headers["X-Rollbackd-Timestamp"] = timestamp
            headers["X-Rollbackd-Signature"] = f"sha256={signed.hexdigest()}"
        try:
            send(self._session, "POST", url, body, headers, what="the webhook")
        except Gone as error:
            raise Transient(
                str(error)
            ) from error  # nothing was to be changed: it is not there yet

    def _body(self, view: WatchView, delivery: str) -> bytes:
        told: dict[str, Any] = {
            "delivery": delivery,
            "headline": headline(view),
            "severity": severity(view).value,
            "summary": summary(view),
            "reasons": list(strongest(view)),
            "links": self._links.of(view),
            "watch": view_to_json(view),
        }
        if self._template is None:
            for signal in told["watch"]["signals"]:
                del signal["points"]  # the API has them
            return json.dumps(told, ensure_ascii=False, allow_nan=False).encode()
        try:
            body = self._template.render(told).encode()
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise Permanent(f"the webhook's template cannot be filled: {error}") from error
        if len(body) > MAX_BODY:
            raise Permanent(f"the webhook's template made more than {MAX_BODY} bytes")
        return body

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
