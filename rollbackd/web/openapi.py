"""The description of the JSON API (OpenAPI 3.1), made from the models that write and read it."""

from typing import Any

from pydantic import BaseModel, TypeAdapter

from rollbackd.views import WatchView

_SPECIAL = {"enum": ["NaN", "Infinity", "-Infinity"]}
_REFERENCE = "#/components/schemas/{model}"


def document(version: str, decision: type[BaseModel], release: type[BaseModel]) -> dict[str, Any]:
    """Return the description.

    Args:
        version: of rollbackd.
        decision: the model that reads a decision.
        release: the model that reads the word to let go of what a watch holds.
    """
    schemas: dict[str, Any] = {
        "Error": {
            "type": "object",
            "properties": {"error": {"type": "string"}, "phase": {"type": "string"}},
            "required": ["error"],
        },
        "Decided": {
            "type": "object",
            "properties": {"phase": {"type": "string"}, "text": {"type": "string"}},
            "required": ["phase", "text"],
        },
    }
    texts = {"type": "array", "items": {"type": "string"}}
    schemas["Released"] = {
        "type": "object",
        "properties": {"done": texts, "failed": texts},
        "required": ["done", "failed"],
    }
    for name, schema in (
        ("WatchView", TypeAdapter(WatchView).json_schema(ref_template=_REFERENCE)),
        ("Decision", decision.model_json_schema(ref_template=_REFERENCE)),
        ("Release", release.model_json_schema(ref_template=_REFERENCE)),
    ):
        schemas |= schema.pop("$defs", {}) | {name: schema}
    schemas["WatchView"]["required"] = sorted(schemas["WatchView"]["properties"])
    for name in ("WatchView", "SignalView", "SignalPoint", "TimelineItem"):
        schemas[name] = _with_specials(schemas[name])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rollbackd",
            "version": version,
            "description": "What is being watched and how it stands, and people's decisions.",
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> dict[str, Any]:
    watch = {"$ref": "#/components/schemas/WatchView"}
    wanted = {
        "name": "watch_id",
        "in": "path",
        "required": True,
        "description": "As in WatchView.id; its slashes may be left as they are.",
        "schema": {"type": "string", "minLength": 1},
    }
    of_workload = {
        "name": "workload",
        "in": "query",
        "description": "Only watches of this workload: namespace/name.",
        "schema": {"type": "string"},
    }
    decide = {
        "summary": "Decide about a watch: approve, reject, rollback, snooze, resume, release",
        "security": [{"token": []}],
        "requestBody": {"required": True} | _json({"$ref": "#/components/schemas/Decision"}),
        "responses": {
            "200": {"description": "Taken."} | _json({"$ref": "#/components/schemas/Decided"}),
            "403": _error("The token is wrong, or this person may not decide."),
            "404": _error("There is no such watch."),
            "409": _error(
                "What it was about is no longer current, or could not be let go; the text says which."
            ),
            "413": _error("The body is too long."),
            "422": _error("The body is no decision."),
            "503": _error("It could not be recorded; nothing was done; decide again."),
        },
    }
    released_model = {"$ref": "#/components/schemas/Released"}
    released = _json(released_model)
    release = {
        "summary": "Let go of what a watch holds: GitOps owners, a rollout that is held back",
        "security": [{"token": []}],
        "requestBody": {"required": True} | _json({"$ref": "#/components/schemas/Release"}),
        "responses": {
            "200": {"description": "Everything was let go, or nothing was held."} | released,
            "403": _error("The token is wrong, or this person may not decide."),
            "404": _error("There is no such watch."),
            "409": {"description": "Not all could be let go; `failed` or `error` says why."}
            | _json({"anyOf": [released_model, {"$ref": "#/components/schemas/Error"}]}),
            "413": _error("The body is too long."),
            "422": _error("The body is no release."),
            "503": _error("The cluster or the journal does not answer; ask again."),
        },
    }
    return {
        "/api/v1/watches": {
            "get": {
                "summary": "Every watch, as it stood at the last tick",
                "parameters": [of_workload],
                "responses": {
                    "200": {"description": "All."} | _json({"type": "array", "items": watch})
                },
            }
        },
        "/api/v1/watches/{watch_id}": {
            "get": {
                "summary": "One watch in full",
                "parameters": [wanted],
                "responses": {
                    "200": {"description": "The watch."} | _json(watch),
                    "404": _error("There is no such watch."),
                },
            }
        },
        "/api/v1/decisions": {"post": decide},
        "/api/v1/releases": {"post": release},
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _error(description: str) -> dict[str, Any]:
    return {"description": description} | _json({"$ref": "#/components/schemas/Error"})


def _with_specials(schema: Any) -> Any:  # noqa: ANN401 - a JSON schema nests anything
    """Return a schema whose numbers may also be the words that JSON has no number for."""
    if isinstance(schema, list):
        return [_with_specials(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        rest = {name: value for name, value in schema.items() if name != "type"}
        return rest | {"anyOf": [{"type": "number"}, _SPECIAL]}
    return {name: _with_specials(value) for name, value in schema.items()}
