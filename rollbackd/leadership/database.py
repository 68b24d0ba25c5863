"""A lease kept as a row beside the journal, for replicas outside a cluster."""

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from actions.ports import Conflict
from rollbackd.leadership.lease import Lease
from rollbackd.store.errors import translated
from rollbackd.store.tables import leases

_KEPT = "The lease is as it was, or was renewed."


class DatabaseLease:
    """Implements ``LeaseStore``. Every write is guarded by the version that was seen.

    Args:
        engine: connections to the journal's database.
        name: of the lease.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    def read(self) -> Lease | None:
        """Return the row, or None when there is none."""
        with translated(self._name, _KEPT), self._engine.connect() as connection:
            wanted = select(leases).where(leases.c.name == self._name)
            found = connection.execute(wanted).one_or_none()
        if found is None:
            return None
        return Lease(found.holder, found.duration_s, found.transitions, str(found.version))

    def write(self, lease: Lease, seen: Lease | None) -> Lease:
        """Insert or change the row. Raises Conflict when it is not as it was seen."""
        version = 1 if seen is None else int(seen.version) + 1
        row = {
            "holder": lease.holder,
            "duration_s": lease.duration_s,
            "transitions": lease.transitions,
            "version": version,
        }
        with translated(self._name, _KEPT), self._engine.begin() as connection:
            if seen is None:
                try:
                    connection.execute(insert(leases).values(name=self._name, **row))
                except IntegrityError as error:
                    raise Conflict(f"lease {self._name} was made by another replica") from error
            else:
                unchanged = (leases.c.name == self._name, leases.c.version == int(seen.version))
                if connection.execute(update(leases).where(*unchanged).values(row)).rowcount != 1:
                    raise Conflict(f"lease {self._name} was written by another replica")
        return Lease(lease.holder, lease.duration_s, lease.transitions, str(version))
