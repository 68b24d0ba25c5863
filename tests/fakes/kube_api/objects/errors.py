"""Refusals of the API server, each answered as a `Status` object."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metadata import JsonObject


class ApiError(Exception):
    """A request which is refused, with the HTTP code and the `Status` that says why."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: JsonObject | None = None,
    ) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> JsonObject:
        """Return the `Status` object that goes on the wire."""
        body: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details is not None:
            body["details"] = self.details
        return body


def _details(group_resource: str, name: str) -> JsonObject:
    plural, _, group = group_resource.partition(".")
    details = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in details.items() if value}


def bad_request(message: str) -> ApiError:
    """Answer a request which cannot be understood."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """Answer a request whose credentials are not known."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group_resource: str, name: str, why: str) -> ApiError:
    """Answer a request which the caller may not make."""
    subject = f'{group_resource} "{name}"' if name else group_resource
    return ApiError(
        403, "Forbidden", f"{subject} is forbidden: {why}", details=_details(group_resource, name)
    )


def not_found(group_resource: str, name: str) -> ApiError:
    """Answer a request for an object which does not exist."""
    return ApiError(
        404,
        "NotFound",
        f'{group_resource} "{name}" not found',
        details=_details(group_resource, name),
    )


def unknown_resource() -> ApiError:
    """Answer a request for a kind which is not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> ApiError:
    """Answer a verb which the kind does not support."""
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def already_exists(group_resource: str, name: str) -> ApiError:
    """Answer a create for a name which is taken."""
    return ApiError(
        409,
        "AlreadyExists",
        f'{group_resource} "{name}" already exists',
        details=_details(group_resource, name),
    )


def conflict(group_resource: str, name: str, why: str) -> ApiError:
    """Answer a write whose precondition no longer holds."""
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {group_resource} "{name}": {why}',
        details=_details(group_resource, name),
    )


def apply_conflict(causes: list[JsonObject]) -> ApiError:
    """Answer a server-side apply which would take fields from another manager."""
    first = causes[0]["message"]
    plural = "" if len(causes) == 1 else "s"
    return ApiError(
        409,
        "Conflict",
        f"Apply failed with {len(causes)} conflict{plural}: {first}",
        details={"causes": causes},
    )


def expired(message: str) -> ApiError:
    """Answer a question about a revision which has been compacted away."""
    return ApiError(410, "Expired", message)


def unsupported_media_type(content_type: str) -> ApiError:
    """Answer a body in a format which this resource does not take."""
    return ApiError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - {content_type!r} is not accepted",
    )


def invalid(kind: str, name: str, causes: list[tuple[str, str]]) -> ApiError:
    """Answer an object which was understood but breaks the kind's rules.

    Args:
        kind: the object's kind.
        name: the object's name.
        causes: every broken rule as (field path, what is wrong).
    """
    listed = ", ".join(f"{field}: {message}" for field, message in causes)
    return ApiError(
        422,
        "Invalid",
        f'{kind} "{name}" is invalid: {listed}',
        details={
            "name": name,
            "kind": kind,
            "causes": [
                {"reason": "FieldValueInvalid", "message": message, "field": field}
                for field, message in causes
            ],
        },
    )
