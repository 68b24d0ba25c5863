"""What somebody sent, as far as it is read at all."""

from starlette.requests import Request


async def whole_body(request: Request, most: int) -> bytes | None:
    """Return a request's body, or None when it is longer than so many bytes.

    Raises:
        ClientDisconnect: they went, or were too slow, before it was whole.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return body
