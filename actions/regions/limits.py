"""What every move of a region's traffic must respect. Pure, and light to import."""

from dataclasses import dataclass

from actions.dns.record import Record


@dataclass(frozen=True, slots=True)
class Limits:
    """What a move must respect.

    Attributes:
        min_healthy: regions that must be healthy and have traffic after a move away.
        max_moves: moves within ``moves_within_s``, over all regions.
        max_ttl_s: longer TTLs are refused: the move would take too long to help.
        min_drain_s: resolvers keep an answer at least this long, whatever a smaller TTL says.
    """

    min_healthy: int = 1
    max_moves: int = 4
    moves_within_s: float = 86400.0
    max_ttl_s: float = 3600.0
    min_drain_s: float = 30.0

    def drain_s(self, record: Record) -> float:
        """Return how long resolvers may give a record's answer after it was changed."""
        return max(float(record.ttl), self.min_drain_s)
