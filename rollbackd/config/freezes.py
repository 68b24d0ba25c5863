"""Freeze windows: spans between two moments, and spans that come back like a cron job.

Parsed here, at the edge, with their time zone; what ``actions.guards`` asks of them depends on the
moment alone.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from actions.guards.guard import Strength

MAX_LASTS_S = 31 * 86400.0
"""A window that comes back lasts at most this long: its last beginnings are looked for day by day."""

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_SUNDAY = 7
"""Cron knows Sunday as 0 and as 7."""


@dataclass(frozen=True, slots=True)
class SpanFreeze:
    """A freeze between two moments, seconds since the epoch; ``actions.guards.Freeze``."""

    name: str
    strength: Strength
    begins: float
    ends: float

    def ends_at(self, now: float) -> float | None:
        """Return its end while it is on."""
        return self.ends if self.begins <= now < self.ends else None


@dataclass(frozen=True, slots=True)
class Cron:
    """The moments that a cron line names: five fields, in one time zone.

    As with cron, a day counts when either its date or its weekday is named, if both are
    restricted. A local time that a change to summer time leaves out is taken as if the clock had
    not been changed; one that comes twice counts the first time.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    timezone: tzinfo

    def names_day(self, day: date) -> bool:
        """Tell whether any moment of this day is named."""
        weekday = day.isoweekday() % _SUNDAY
        by_date, by_weekday = day.day in self.days, weekday in self.weekdays
        named = by_date or by_weekday if self.either_day else by_date and by_weekday
        return named and day.month in self.months

    def last_before(self, now: float, span_s: float) -> float | None:
        """Return the newest moment at or before ``now`` that is less than ``span_s`` ago."""
        today = datetime.fromtimestamp(now, self.timezone).date()
        for back in range(int(span_s // 86400) + 2):
            day = today - timedelta(days=back)
            moments = self._moments(day) if self.names_day(day) else []
            past = [moment for moment in moments if now - span_s < moment <= now]
            if past:
                return max(past)
        return None

    def _moments(self, day: date) -> list[float]:
        return [
            datetime.combine(day, time(hour, minute), self.timezone).timestamp()
            for hour in self.hours
            for minute in self.minutes
        ]


@dataclass(frozen=True, slots=True)
class CronFreeze:
    """A freeze that begins as a cron line says and lasts a while; ``actions.guards.Freeze``."""

    name: str
    strength: Strength
    begins: Cron
    lasts_s: float

    def ends_at(self, now: float) -> float | None:
        """Return its end while it is on."""
        began = self.begins.last_before(now, self.lasts_s)
        return None if began is None else began + self.lasts_s


def parse_cron(line: str, timezone: tzinfo) -> Cron:
    """Return what a cron line of five fields says: ``0 18 * * fri``.

    Raises:
        ValueError: it is not such a line; says which field.
    """
    fields = line.split()
    names = ("minute", "hour", "day", "month", "weekday")
    if len(fields) != len(names):
        raise ValueError(f"a cron line has five fields ({', '.join(names)}), not {len(fields)}")
    minutes = _field(fields[0], "minute", 0, 59)
    hours = _field(fields[1], "hour", 0, 23)
    days = _field(fields[2], "day", 1, 31)
    months = _field(_numbered(fields[3], _MONTHS, 1), "month", 1, 12)
    weekdays = _field(_numbered(fields[4], _DAYS, 0), "weekday", 0, _SUNDAY)
    return Cron(
        minutes,
        hours,
        days,
        months,
        frozenset(day % _SUNDAY for day in weekdays),
        either_day=not (fields[2].startswith("*") or fields[4].startswith("*")),
        timezone=timezone,
    )


def _numbered(field: str, names: list[str], first: int) -> str:
    """Return a field with names of months or days as numbers."""
    text = field.lower()
    for number, name in enumerate(names, first):
        text = text.replace(name, str(number))
    return text


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    """Return the numbers that one field names: ``*``, ``1-5``, ``*/15``, ``8,20``."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        if not first.isdecimal() or not (last or "0").isdecimal() or not (step or "1").isdecimal():
            raise ValueError(f'"{part}" is not a {name} of a cron line')
        begin = int(first)
        end = int(last) if last else (high if step else begin)
        every = int(step) if step else 1
        if not (low <= begin <= end <= high and every > 0):
            raise ValueError(f'"{part}" is not a {name} between {low} and {high}')
        found.update(range(begin, end + 1, every))
    return frozenset(found)
