"""The description of the JSON API (OpenAPI 3.1), made from the models that write and read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter

from rollbackd.views import WatchView

_SPECIAL = {"enum": ["NaN", "Infinity", "-Infinity"]}
_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Bodies:
    """The models that read what is sent.

    Attributes:
        decision: a decision. release: the word to let go of what a watch holds.
        orders: about regions and trains, by what one of them is called.
        withdrawal: the wish to take back what a watch followed.
    """

    decision: type[BaseModel]
    release: type[BaseModel]
    orders: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    withdrawal: type[BaseModel] | None = None


def document(version: str, bodies: Bodies) -> dict[str, Any]:
    """Return the description.

    Args:
        version: of rollbackd.
        bodies: the models of what this daemon takes.
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
        ("Decision", bodies.decision.model_json_schema(ref_template=_REFERENCE)),
        ("Release", bodies.release.model_json_schema(ref_template=_REFERENCE)),
        *_more_schemas(bodies),
    ):
        schemas |= schema.pop("$defs", {}) | {name: schema}
    schemas["WatchView"]["required"] = sorted(schemas["WatchView"]["properties"])
    for name in ("WatchView", "SignalView", "SignalPoint", "StopView", "TimelineItem"):
        schemas[name] = _with_specials(schemas[name])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rollbackd",
            "version": version,
            "description": "What is being watched and how it stands, and people's decisions.",
        },
        "paths": _paths() | _more_paths(bodies),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _more_schemas(bodies: Bodies) -> list[tuple[str, dict[str, Any]]]:
    """Return the schemas of orders about regions and trains, and of withdrawals."""
    found = [
        (f"{kind.capitalize()}Order", order.model_json_schema(ref_template=_REFERENCE))
        for kind, order in bodies.orders.items()
    ]
    for kind in bodies.orders:
        named = {"name": {"type": "string"}}
        own = {"type": "object", "properties": named, "required": ["name"]}
        view = {"allOf": [{"$ref": _REFERENCE.format(model="WatchView")}, own]}
        about = f"Of a {kind}, in the shape of a watch; it has keys of its own besides."
        found.append((kind.capitalize(), {"description": about, **view}))
    if bodies.withdrawal is not None:
        model = bodies.withdrawal.model_json_schema(ref_template=_REFERENCE)
        found.append(("Withdrawal", model))
        texts = {key: {"type": "string"} for key in ("state", "text")}
        said = {"type": "object", "properties": texts, "required": ["state", "text"]}
        found.append(("Withdrawn", said))
    return found


def _more_paths(bodies: Bodies) -> dict[str, Any]:
    """Return the paths of regions, trains and withdrawals."""
    paths: dict[str, Any] = {
        f"/api/v1/{kind}s": {"get": _all_of(kind), "post": _order_about(kind)}
        for kind in bodies.orders
    }
    if bodies.withdrawal is None:
        return paths
    withdrawn = {"$ref": "#/components/schemas/Withdrawn"}
    error = {"$ref": "#/components/schemas/Error"}
    either = _json({"anyOf": [withdrawn, error]})
    paths["/api/v1/withdrawals"] = {
        "post": {
            "summary": "Take back what a watch followed and kept, or ask how that is going",
            "security": [{"token": []}],
            "requestBody": {"required": True} | _json({"$ref": "#/components/schemas/Withdrawal"}),
            "responses": {
                "200": {"description": "It is back."} | _json(withdrawn),
                "202": {"description": "It is on its way; ask again."} | _json(withdrawn),
                "403": _error("The token is wrong, or this person may not decide."),
                "404": {"description": "There is no such watch."} | either,
                "409": {"description": "It was refused, or failed; the text says why."} | either,
                "413": _error("The body is too long."),
                "422": _error("The body is no withdrawal."),
                "503": _error("The journal or the cluster does not answer; ask again."),
            },
        }
    }
    return paths


def _all_of(kind: str) -> dict[str, Any]:
    one = {"$ref": _REFERENCE.format(model=kind.capitalize())}
    return {
        "summary": f"Every {kind}, in the configured order",
        "responses": {
            "200": {"description": "All."} | _json({"type": "array", "items": one}),
            "503": _error("Another replica leads; that one knows."),
        },
    }


def _order_about(kind: str) -> dict[str, Any]:
    one = {"$ref": _REFERENCE.format(model=kind.capitalize())}
    order = _REFERENCE.format(model=f"{kind.capitalize()}Order")
    return {
        "summary": f"Decide about a {kind} by its name",
        "security": [{"token": []}],
        "requestBody": {"required": True} | _json({"$ref": order}),
        "responses": {
            "200": {"description": f"Taken; the {kind} as it stands now."} | _json(one),
            "403": _error("The token is wrong, or this person may not decide."),
            "404": _error(f"There is no such {kind}."),
            "409": _error(
                "It does not apply now, or was about an earlier state; nothing was done."
            ),
            "413": _error("The body is too long."),
            "422": _error("The body is no order."),
            "503": _error("It could not be recorded, or another replica leads; ask again."),
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
