"""Label and field selectors, as `labelSelector=` and `fieldSelector=` write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from .errors import bad_request
from .metadata import JsonObject, labels_of

if TYPE_CHECKING:
    from .kinds import ResourceKind

Selection: TypeAlias = Callable[[JsonObject], bool]
Operator: TypeAlias = Literal["in", "notin", "exists", "absent"]

_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")
_KEY = r"(?P<key>[A-Za-z0-9][A-Za-z0-9_./-]*)"
_SET_TERM = re.compile(_KEY + r"\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALITY_TERM = re.compile(_KEY + r"\s*(?P<operator>==|=|!=)\s*(?P<value>[A-Za-z0-9_.-]*)")
_EXISTENCE_TERM = re.compile(r"(?P<negation>!?)\s*" + _KEY)
_FIELD_TERM = re.compile(r"(?P<path>[A-Za-z0-9.]+)(?P<operator>==|=|!=)(?P<value>.*)")

_FIELDS_OF_ALL_KINDS = frozenset({"metadata.name", "metadata.namespace"})
_FIELDS_OF_KIND: dict[str, frozenset[str]] = {
    "Pod": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "Event": frozenset(
        {
            *(
                f"{subject}.{part}"
                for subject in ("involvedObject", "regarding")
                for part in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")
            ),
            "reason",
            "type",
            "source",
            "reportingComponent",
            "reportingController",
        }
    ),
    "Namespace": frozenset({"status.phase"}),
    "Secret": frozenset({"type"}),
    "ReplicaSet": frozenset({"status.replicas"}),
}


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One term of a label selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def holds(self, labels: dict[str, str]) -> bool:
        """Say whether an object with these labels satisfies the term."""
        match self.operator:
            case "exists":
                return self.key in labels
            case "absent":
                return self.key not in labels
            case "in":
                return self.key in labels and labels[self.key] in self.values
            case "notin":
                return self.key not in labels or labels[self.key] not in self.values


def parse_label_selector(text: str) -> tuple[LabelRequirement, ...]:
    """Read a label selector in the query form; terms are joined by "and"."""
    terms = [term.strip() for term in _COMMA_OUTSIDE_PARENTHESES.split(text)]
    return tuple(_label_requirement(term) for term in terms if term)


def _label_requirement(term: str) -> LabelRequirement:
    if found := _SET_TERM.fullmatch(term):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return LabelRequirement(
            found["key"], "in" if found["operator"] == "in" else "notin", values
        )
    if found := _EQUALITY_TERM.fullmatch(term):
        operator: Operator = "notin" if found["operator"] == "!=" else "in"
        return LabelRequirement(found["key"], operator, frozenset({found["value"]}))
    if found := _EXISTENCE_TERM.fullmatch(term):
        return LabelRequirement(found["key"], "absent" if found["negation"] else "exists")
    raise bad_request(f"unable to parse requirement: {term!r}")


def from_label_selector_object(selector: JsonObject) -> tuple[LabelRequirement, ...]:
    """Read a label selector in the object form (`matchLabels`, `matchExpressions`)."""
    operators: dict[str, Operator] = {
        "In": "in",
        "NotIn": "notin",
        "Exists": "exists",
        "DoesNotExist": "absent",
    }
    terms = [
        LabelRequirement(key, "in", frozenset({value}))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    terms += [
        LabelRequirement(
            expression["key"],
            operators[expression["operator"]],
            frozenset(expression.get("values") or ()),
        )
        for expression in selector.get("matchExpressions") or ()
    ]
    return tuple(terms)


def labels_match(requirements: tuple[LabelRequirement, ...], labels: dict[str, str]) -> bool:
    """Say whether labels satisfy every requirement."""
    return all(requirement.holds(labels) for requirement in requirements)


def as_query_text(selector: JsonObject) -> str:
    """Write a selector object in the query form, as the Scale subresource shows it."""
    written = []
    for term in from_label_selector_object(selector):
        values = ",".join(sorted(term.values))
        match term.operator:
            case "exists":
                written.append(term.key)
            case "absent":
                written.append(f"!{term.key}")
            case "in" if len(term.values) == 1:
                written.append(f"{term.key}={values}")
            case _:
                written.append(f"{term.key} {term.operator} ({values})")
    return ",".join(written)


def selection(kind: ResourceKind, label_selector: str, field_selector: str) -> Selection:
    """Build the question "is this object selected?" for one request.

    Raises:
        ApiError: 400 when a selector cannot be read or names a field which cannot be selected on.
    """
    requirements = parse_label_selector(label_selector)
    fields = [_field_term(kind, term) for term in field_selector.split(",") if term.strip()]

    def selected(obj: JsonObject) -> bool:
        return labels_match(requirements, labels_of(obj)) and all(
            (_field_value(obj, path) == value) is wanted for path, value, wanted in fields
        )

    return selected


def _field_term(kind: ResourceKind, term: str) -> tuple[str, str, bool]:
    found = _FIELD_TERM.fullmatch(term.strip())
    if not found:
        raise bad_request(f"invalid selector: {term!r}; can't understand {term!r}")
    path = found["path"]
    if path not in _FIELDS_OF_ALL_KINDS | _FIELDS_OF_KIND.get(kind.kind, frozenset()):
        raise bad_request(f'field label not supported: "{path}"')
    return path, found["value"], found["operator"] != "!="


def _field_value(obj: JsonObject, path: str) -> str:
    value: object = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
