"""What attributes mean: OpenTelemetry's semantic conventions, old and new.

Names of operations must be few: what looks like a value (a number, an id, a query string) becomes a
placeholder.
"""

import re
from collections.abc import Mapping

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
"""By OTLP's number; an unspecified kind counts as internal, as the specification says."""

STATUS_KEYS = ("http.response.status_code", "http.status_code")
"""The stable convention, then the one before it (until 1.20)."""
GRPC_KEYS = ("rpc.grpc.status_code", "rpc.response.status_code")
ROUTE_KEY = "http.route"
ERROR_KEY = "error.type"
EXCEPTION_KEY = "exception.type"

SERVER_ERROR = 500
MAX_NAME = 120
"""Characters of an operation's name that are kept."""
MAX_ERROR = 80
OTHER = "(other)"
"""The bucket for what comes after the limit of distinct names."""

BARE_METHOD = re.compile(r"(?:HTTP )?(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|CONNECT)")
"""Names of instrumentations that do not put the route into the span's name."""

_QUERY = re.compile(r"[?#]\S*")
_HOST = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/]+", re.IGNORECASE)
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
_HEX = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", re.IGNORECASE)
_SEGMENT = re.compile(
    r"(?<=/)(?:\d[\w.~%-]*|[^/\s{]*\d{3,}[^/\s}]*|[^/\s{]{40,}|[^/\s]*@[^/\s]*)(?=/|\s|$)"
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_QUOTED = re.compile(r"'[^']*'")


def operation_name(name: str) -> str:
    """Return a span's name with its values taken out: "GET /users/42?x=1" -> "GET /users/{}"."""
    text = " ".join(name[: 4 * MAX_NAME].split()) or "(no name)"
    if "/" in text:
        text = _QUERY.sub("", text)
        text = _HOST.sub("", text)
    text = _UUID.sub("{}", text)
    text = _HEX.sub("{}", text)
    if "/" in text:
        text = _SEGMENT.sub("{}", text)
    text = _QUOTED.sub("{}", text)
    text = _NUMBER.sub("{}", text)
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


def http_status(attributes: Mapping[str, object]) -> int | None:
    """Return the HTTP status of a span by either convention, or None."""
    for key in STATUS_KEYS:
        value = attributes.get(key)
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    return None


def error_type(attributes: Mapping[str, object], exception: str) -> str:
    """Return what kind of error a failed span tells of.

    Args:
        attributes: of the span.
        exception: ``exception.type`` of its last exception, "" for none.
    """
    said = attributes.get(ERROR_KEY)
    if exception or (isinstance(said, str) and said and not said.isdecimal()):
        return shortened(exception or str(said))
    status = http_status(attributes)
    if status is not None:
        return f"HTTP {status}"
    for key in GRPC_KEYS:
        if key in attributes:
            return f"gRPC {attributes[key]}"[:MAX_ERROR]
    return shortened(str(said)) if said else "error"


def shortened(text: str) -> str:
    """Return an error's type as a label: values taken out, of bounded length."""
    line = _NUMBER.sub("{}", _HEX.sub("{}", " ".join(text[: 4 * MAX_ERROR].split())))
    # a number that is all there is to say is kept: it is a code
    line = line if line.strip("{} ") else " ".join(text[:MAX_ERROR].split())
    return line if len(line) <= MAX_ERROR else line[: MAX_ERROR - 1] + "…"
