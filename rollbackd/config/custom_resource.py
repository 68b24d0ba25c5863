"""The CustomResourceDefinition of RollbackPolicy, made from the models that read one.

The API server takes *structural* schemas only: one type for each value, nothing referred to, no
keyword that it does not know. What pydantic says is brought into that form here; what cannot be is an
error, so that nothing is lost unseen. What concerns several keys at once is said in CEL.
"""

from collections.abc import Mapping
from typing import Any

from rollbackd.config.cross_checks import EVENTS, SIGNALS
from rollbackd.config.models.policy_resource import GROUP, KIND, PLURAL, VERSION, PolicySpecModel

Schema = dict[str, Any]

MOST_WATCHES = 20
"""Watches in progress that a status tells of."""
MOST_REASONS = 3
LONGEST_TEXT = 1024
"""Characters of a text in a status."""
LONGEST_MESSAGE = 32_768
"""Characters of a condition's message: all that is wrong with a policy stands there."""

_KEPT = frozenset(
    {
        *("type", "enum", "pattern", "minimum", "maximum", "default", "required"),
        *("minLength", "maxLength", "minItems", "maxItems"),
    }
)
_DROPPED = frozenset({"title", "examples", "$defs"})

Rule = tuple[str, str]
"""A rule in CEL, and what is said to who breaks it."""

_SPEC_RULES: tuple[Rule, ...] = (
    (
        # CEL's durations know no days; what it cannot compare, rollbackd does.
        (
            "self.horizon.contains('d') || self.min_observation.contains('d') || "
            "duration(self.horizon) >= duration(self.min_observation)"
        ),
        "horizon is shorter than min_observation: the watch would end before it may say healthy",
    ),
    (
        "self.mode == 'observe' || (has(self.actions) && self.actions.size() > 0)",
        "modes approve and enforce need at least one action",
    ),
    (
        "self.mode != 'observe' || !has(self.hold)",
        "mode observe changes nothing, and a hold pauses Deployments",
    ),
    (
        (
            "self.mode == 'observe' || !has(self.signals) || "
            "self.signals.exists(s, has(s.tier) ? s.tier != 'info' : !has(s.traffic))"
        ),
        "every signal is info, so nothing could ever act: make one critical, or use mode observe",
    ),
)
_MODEL_RULES: Mapping[str, tuple[Rule, ...]] = {
    "SignalModel": (
        (
            # A sum, not a list that is filtered: its cost is known to the API server.
            " + ".join(f"(has(self.{kind}) ? 1 : 0)" for kind in SIGNALS) + " == 1",
            f"exactly one of {', '.join(SIGNALS)} is needed",
        ),
        (
            " || ".join(f"has(self.{kind})" for kind in EVENTS)
            + " || !(has(self.floor) || has(self.harm_rate))",
            "only ratios, intervals and traces have floor and harm_rate",
        ),
    ),
    "FreezeModel": (
        (
            (
                "has(self.from) == has(self.to) && has(self.cron) == has(self.lasts) && "
                "has(self.from) != has(self.cron)"
            ),
            "give from and to, or cron and lasts",
        ),
        ("!has(self.from) || !has(self.to) || self.from < self.to", "it ends before it begins"),
    ),
}


def definition() -> Schema:
    """Return the CustomResourceDefinition as plain JSON values."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["rbp"],
                "categories": ["rollbackd"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _COLUMNS,
                    "schema": {"openAPIV3Schema": _object_schema()},
                }
            ],
        },
    }


_COLUMNS = [
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
    },
    {"name": "Mode", "type": "string", "jsonPath": ".status.mode"},
    {"name": "Watching", "type": "integer", "jsonPath": ".status.watching"},
    {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
    {"name": "Last action", "type": "string", "jsonPath": ".status.lastAction.phase"},
    {"name": "When", "type": "date", "jsonPath": ".status.lastAction.time"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {
        "name": "Reason",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
    },
]


def _object_schema() -> Schema:
    spec = PolicySpecModel.model_json_schema()
    schema = structural(spec, spec.get("$defs", {}))
    # The defaults of a policy are shown in it. Those further down depend on what else is there.
    for name, value in schema["properties"].items():
        _without_defaults(value, keep=value["type"] not in {"array", "object"})
        if name == "signals":
            value |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        if name == "actions":
            value["x-kubernetes-list-type"] = "set"
    schema |= _validations(_SPEC_RULES)
    return {
        "description": "How the rollouts of a namespace are watched, and what may be done about "
        "a bad one: rollbackd reads it, and writes its status.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema,
            "status": _STATUS,
        },
    }


def _validations(rules: tuple[Rule, ...]) -> Schema:
    made = [{"rule": rule, "message": message} for rule, message in rules]
    return {"x-kubernetes-validations": made} if made else {}


def _without_defaults(schema: Schema, *, keep: bool) -> None:
    """Take defaults out of a schema, and say them in its description instead."""
    if not keep and "default" in schema:
        default = schema.pop("default")
        if default not in ("", [], {}) and "efault" not in schema.get("description", ""):
            said = "true" if default is True else "false" if default is False else default
            schema["description"] = f"{schema.get('description', '')} Default: {said}.".strip()
    for inner in schema.get("properties", {}).values():
        _without_defaults(inner, keep=False)
    if isinstance(schema.get("items"), dict):
        _without_defaults(schema["items"], keep=False)


def structural(schema: Mapping[str, Any], models: Mapping[str, Any]) -> Schema:
    """Return a JSON Schema of pydantic's as a structural one.

    Args:
        schema: the schema, or a part of it.
        models: what it may refer to, by name.

    Raises:
        ValueError: something cannot be said in a structural schema.
    """
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        own = {key: value for key, value in schema.items() if key != "$ref"}
        rules = _validations(_MODEL_RULES.get(name, ()))
        return structural({**models[name], **own}, models) | rules
    if "anyOf" in schema:
        return _one_of_several(schema, models)
    made: Schema = {}
    for key, value in schema.items():
        made |= _keyword(key, value, models)
    return made


def _keyword(key: str, value: Any, models: Mapping[str, Any]) -> Schema:  # noqa: ANN401 - JSON
    """Return what stands for one keyword; nothing when it says nothing to the API server."""
    match key:
        case "description":
            return {key: " ".join(str(value).split())}
        case "type" if isinstance(value, list):
            return _one_type(value)
        case "exclusiveMinimum":
            return {"minimum": value, key: True}
        case "properties":
            return {key: {name: structural(each, models) for name, each in value.items()}}
        case "additionalProperties" if value is False:
            return {}  # unknown keys are pruned, or refused where kubectl validates strictly
        case "items" | "additionalProperties":
            return {key: structural(value, models)}
        case "default" if value is None:
            return {}
        case _ if key in _KEPT:
            return {key: value}
        case _ if key in _DROPPED:
            return {}
        case _:
            raise ValueError(f"{key} cannot be said in a structural schema")


def _one_type(types: list[str]) -> Schema:
    """Return what stands for several types: a text says everything that a number says."""
    if set(types) == {"string", "integer"}:
        return {"x-kubernetes-int-or-string": True}
    if set(types) == {"string", "number"}:
        return {"type": "string"}
    raise ValueError(f"no one type stands for {types}")


def _one_of_several(schema: Mapping[str, Any], models: Mapping[str, Any]) -> Schema:
    """Return the one choice that is neither null nor a word for the absence of the value."""
    choices = [c for c in schema["anyOf"] if c.get("type") != "null" and "const" not in c]
    if len(choices) != 1:
        raise ValueError(f"one type is needed, and there are several: {schema}")
    own = {key: value for key, value in schema.items() if key != "anyOf"}
    made = structural(choices[0], models) | structural(own, models)
    # The API server compares null with an enumeration, too, which then does not hold it.
    if "enum" not in made and any(c.get("type") == "null" for c in schema["anyOf"]):
        made["nullable"] = True
    return made


def _text(about: str, longest: int = LONGEST_TEXT) -> Schema:
    return {"type": "string", "maxLength": longest, "description": about}


def _time(about: str) -> Schema:
    return {"type": "string", "format": "date-time", "description": about}


_CONDITION: Schema = {
    "type": "object",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": {"type": "string", "maxLength": 316, "description": "Ready, Limited or Degraded."},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "lastTransitionTime": _time("When the status became what it is."),
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "message": _text("For people.", LONGEST_MESSAGE),
    },
}

_WATCH: Schema = {
    "type": "object",
    "properties": {
        "workload": _text("Namespace and name of the workload."),
        "canary": _text("The new revision."),
        "baseline": _text("The revision that it is compared with."),
        "phase": _text("Where the watch is in its life."),
        "verdict": _text(
            "What the evidence says: healthy, degraded, shared incident, inconclusive."
        ),
        "since": _time("When it came into this phase."),
        "reasons": {
            "type": "array",
            "maxItems": MOST_REASONS,
            "items": {"type": "string", "maxLength": LONGEST_TEXT},
            "description": "The strongest reasons, with their numbers.",
        },
    },
}

_STATUS: Schema = {
    "description": "What rollbackd says of it.",
    "type": "object",
    "properties": {
        "observedGeneration": {
            "type": "integer",
            "format": "int64",
            "description": "The generation that all of this is about.",
        },
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": _CONDITION,
            "description": "Ready: it can be used, and is. Limited: the configuration file keeps it "
            "from going as far as it asks for. Degraded: harm is proved on a rollout it is for.",
        },
        "mode": _text("How far it goes: what it asks for, within the limit of the configuration."),
        "verdict": _text("The worst verdict of its watches in progress."),
        "watching": {"type": "integer", "format": "int32", "description": "Watches in progress."},
        "watches": {
            "type": "array",
            "maxItems": MOST_WATCHES,
            "x-kubernetes-list-type": "atomic",
            "items": _WATCH,
            "description": f"Watches in progress, the worst first; at most {MOST_WATCHES} of them.",
        },
        "lastAction": {
            "type": "object",
            "description": "The last time that something was done, or proposed.",
            "properties": {
                "time": _time("When."),
                "workload": _text("Namespace and name of the workload."),
                "canary": _text("The revision that it was about."),
                "phase": _text("What came of it: acting, verifying, rolled back, needs a human."),
                "text": _text("In one sentence."),
            },
        },
    },
}
