"""octoDNS: plain records of the providers for which there is no backend of our own.

octoDNS has no compare-and-set and no call for one record. Each look reads the whole zone; a swap
reads it again immediately before the write, and applies a plan with exactly one change. What
somebody else writes between that second reading and the write is overwritten: as long as reading
the zone and one write take. The original record is in the journal.
"""

import importlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote, quote_plus

from octodns.provider import SupportsException
from octodns.provider.plan import Plan
from octodns.record import Record as ZoneRecord
from octodns.record import Update
from octodns.zone import Zone

from actions.dns.authority import Authority
from actions.dns.ports import Propagation
from actions.dns.record import Record, Routing, canonical, fault, plain
from actions.dns.rest import SHOWN
from actions.ports import ActionError, Conflict, Permanent, Transient

ID = "rollbackd"
"""What octoDNS calls the provider, in its logs."""
MAX_RECORDS = 2000
_NOT_ALLOWED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_REFUSALS = ("unauthorized", "forbidden", "authentication", "badkey", "badsig")
"""Parts of the names of errors by which providers say that credentials do not do."""

Argument = object | Callable[[], str]
"""A value, or what reads a secret at every use."""


class Provider(Protocol):
    """What is called of octoDNS' ``BaseProvider``."""

    def populate(self, zone: Zone, *, target: bool, lenient: bool) -> bool | None:
        """Fill a zone with all its records; tell whether there is such a zone."""

    def plan(self, desired: Zone) -> Plan | None:
        """Read the zone and return what would be changed."""

    def apply(self, plan: Plan) -> int:
        """Write; return how many changes were made."""


def provider_class(path: str) -> Callable[..., Provider]:
    """Return a provider's class by its dotted name. Raises ValueError."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ValueError(f"octoDNS: {path} is not installed here ({error})") from error
    except AttributeError as error:
        raise ValueError(f"octoDNS: {module} has no {name}") from error
    if getattr(found, "apply", None) is None:
        raise ValueError(f"octoDNS: {path} is no provider that can write")
    made: Callable[..., Provider] = found
    return made


class OctoDns:
    """One zone of one octoDNS provider; implements ``actions.dns.ports.DnsBackend``.

    A provider is made anew for each look: many keep what they once read of a zone.

    Args:
        zone: that may be changed.
        provider: its class. arguments: what it is given.
        authority: asks the servers that the world asks.
        max_records: zones with more records are refused.
    """

    def __init__(
        self,
        *,
        zone: str,
        provider: Callable[..., Provider],
        arguments: Mapping[str, Argument],
        authority: Authority,
        max_records: int = MAX_RECORDS,
    ) -> None:
        self._zone = canonical(zone)
        self._class = provider
        self._arguments = arguments
        self._authority = authority
        self._max_records = max_records
        name = getattr(provider, "__name__", "")
        for chatty in (f"{name}[{ID}]", name, "Plan", "Record", "Zone"):
            # at info they tell each reading, at debug what the provider was given
            logging.getLogger(chatty).setLevel(logging.WARNING)

    def read(self, name: str, type_: str) -> Record:
        """Return a plain record; the whole zone is read for it."""
        name = canonical(name)
        with self._provider(f"reading {name} {type_}") as provider:
            return _parsed(self._found(self._populated(provider), name, type_), self._zone)

    def swap(self, expected: Record, new: Record) -> None:
        """Compare, then write at once; see the module for what this cannot promise."""
        for record in (expected, new):
            if why := fault(record, self._zone):
                raise Permanent(why)
            if record.routing is not Routing.PLAIN:
                raise Permanent(f"{record.name}: octoDNS is a bridge for plain records only")
        doing = f"changing {new.name} {new.type}"
        with self._provider(doing) as provider:
            zone = self._populated(provider)
            self._compare(self._found(zone, new.name, new.type), expected)
        if expected == new:
            return
        with self._provider(doing) as provider:
            plan = provider.plan(_with(zone, new))
            one = self._only(plan, expected, new)
            if provider.apply(one) != 1:
                raise Permanent(f"{doing}: the provider is told not to apply changes")

    def propagation(self, record: Record) -> Propagation:
        """Ask every authoritative server."""
        return self._authority.ask(record)

    def _only(self, plan: Plan | None, expected: Record, new: Record) -> Plan:
        """Return a plan of exactly our change, after comparing what the plan has read."""
        changes = [] if plan is None else plan.changes
        ours = [c for c in changes if _is(c.record, new.name, new.type)]
        if plan is None or not ours:
            raise Permanent(f"{new.name}: the provider would change nothing for {new.describe()}")
        (change,) = ours
        if not isinstance(change, Update):
            raise Conflict(f"{new.name} {new.type} is no longer there; nothing was written")
        self._compare(change.existing, expected)
        would = _parsed(change.new, self._zone)
        if would != new:
            raise Permanent(
                f"the provider would make {would.describe()} (TTL {would.ttl} s) of {new.describe()} "
                f"(TTL {new.ttl} s); nothing was written"
            )
        return Plan(plan.existing, _with(plan.existing, new), [change], plan.exists)

    def _compare(self, found: ZoneRecord, expected: Record) -> None:
        if _parsed(found, self._zone) != expected:
            raise Conflict(
                f"{expected.name} {expected.type} is no longer as planned; nothing was written"
            )

    def _populated(self, provider: Provider) -> Zone:
        zone = Zone(f"{self._zone}.", [])
        # as a target: what writes zones whole (files) then shows none, and is refused here
        exists = provider.populate(zone, target=True, lenient=True)
        if exists is False or not zone.records:
            raise Permanent(
                f"octoDNS' {self._called} has no zone {self._zone} in which single records can be "
                "changed"
            )
        if len(zone.records) > self._max_records:
            raise Permanent(
                f"the zone {self._zone} has {len(zone.records)} records, and every look reads all "
                f"of them; max_records is {self._max_records}"
            )
        return zone

    def _found(self, zone: Zone, name: str, type_: str) -> ZoneRecord:
        named = [r for r in zone.records if canonical(r.fqdn) == name]
        for record in named:
            if record._type == type_:  # noqa: SLF001  octoDNS' own name for it, used throughout
                return record
        others = sorted(r._type for r in named)  # noqa: SLF001  as above
        instead = f"; it is a {others[0]}" if others else ""
        raise Permanent(f"the zone {self._zone} has no {type_} record {name}{instead}")

    @property
    def _called(self) -> str:
        return str(getattr(self._class, "__name__", self._class))

    @contextmanager
    def _provider(self, doing: str) -> Iterator[Provider]:
        """Make a provider, and name its errors by the reaction to them.

        They may quote what they were given, so their text is told without any secret, and they
        are no cause of ours: a traceback would tell them whole.
        """
        secrets = {key: read() for key, read in self._arguments.items() if callable(read)}
        given = {**self._arguments, **secrets}
        try:
            provider = self._class(ID, **given)
        except Exception as error:  # noqa: BLE001  providers raise what they like
            said = _without(secrets.values(), error)
            raise Permanent(f"octoDNS' {self._called} cannot be made: {said}") from None
        try:
            yield provider
        except ActionError:
            raise
        except Exception as error:  # noqa: BLE001  as above
            raise _trouble(f"{doing} by octoDNS", secrets.values(), error) from None


def _trouble(doing: str, secrets: Collection[str], error: Exception) -> ActionError:
    text = f"{doing}: {_without(secrets, error)}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    kinds = " ".join(type(each).__name__ for each in _chain(error)).lower()
    if status in _NOT_ALLOWED or any(word in kinds for word in _REFUSALS):
        return Permanent(f"{text}; the credentials do not allow this")
    if isinstance(error, SupportsException):
        return Permanent(f"{text}; nothing was written")
    return Transient(text)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it was made of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _without(secrets: Collection[str], error: Exception) -> str:
    """Return an error's name and words, with every secret taken out."""
    text = " ".join(str(error).split())
    for secret in secrets:
        for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(form, "***")
    return f"{type(error).__name__}: {text[:SHOWN]}" if text else type(error).__name__


def _is(record: ZoneRecord, name: str, type_: str) -> bool:
    return canonical(record.fqdn) == name and record._type == type_  # noqa: SLF001  as above


def _parsed(found: ZoneRecord, zone: str) -> Record:
    """Return octoDNS' record as ours. Raises Permanent for what we do not change."""
    name = canonical(found.fqdn)
    for kind in ("dynamic", "geo"):
        if getattr(found, kind, None):
            raise Permanent(f"{name} is routed by {kind} rules; only plain records can be moved")
    values = found.values if hasattr(found, "values") else [found.value]
    canonicals = tuple(canonical(str(value)) for value in values)
    record = plain(name, found._type, found.ttl, canonicals)  # noqa: SLF001  as above
    kept = json.dumps(found.data.get("octodns", {}), sort_keys=True, default=str)
    (member,) = record.members
    record = replace(record, members=(replace(member, detail=(("octodns", kept),)),))
    if why := fault(record, zone):
        raise Permanent(why)
    return record


def _with(zone: Zone, record: Record) -> Zone:
    """Return a copy of a zone in which one record is ours; what octoDNS keeps with it stays."""
    (member,) = record.members
    ends = "." if record.type == "CNAME" else ""
    values = [f"{value}{ends}" for value in member.values]
    data = {
        "type": record.type,
        "ttl": record.ttl,
        "octodns": json.loads(dict(member.detail)["octodns"]),
        **({"value": values[0]} if record.type == "CNAME" else {"values": values}),
    }
    desired = zone.copy()
    made = ZoneRecord.new(
        desired, desired.hostname_from_fqdn(f"{record.name}."), data, lenient=True
    )
    desired.add_record(made, replace=True, lenient=True)
    return desired
