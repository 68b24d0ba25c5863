"""One replica's word to another about who somebody is, signed with the token that both have."""

import base64
import binascii
import hmac
import json
from hashlib import sha256

HEADER = "x-rollbackd-vouched"
GOOD_FOR_S = 30
"""How long a word counts; clocks of replicas may differ by this much."""


def vouch(name: str, groups: frozenset[str], now: float, key: str) -> str:
    """Return the header's value."""
    said = {"name": name, "groups": sorted(groups), "at": round(now)}
    shown = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    return f"{shown}.{_signature(shown, key)}"


def vouched(value: str, now: float, key: str) -> tuple[str, frozenset[str]] | None:
    """Return whom a header's value names, and their groups; None when it is not to be believed."""
    shown, _, signature = value.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(shown, key).encode()):
        return None
    try:
        said = json.loads(base64.urlsafe_b64decode(shown))
        if abs(now - said["at"]) > GOOD_FOR_S:
            return None
        return str(said["name"]), frozenset(map(str, said["groups"]))
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


def _signature(shown: str, key: str) -> str:
    return hmac.new(key.encode(), f"vouched.{shown}".encode(), sha256).hexdigest()
