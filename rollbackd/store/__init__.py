"""The journal on disk: SQLAlchemy Core on SQLite or PostgreSQL, schema kept by Alembic.

``SqlJournal`` is the one writer (``actions.ports.Journal`` plus housekeeping); ``JournalReader``
opens the same database read-only beside a running daemon. Every error that leaves this package is a
``Transient`` or a ``Permanent`` that says what was kept.
"""

from rollbackd.store.journal import SqlJournal
from rollbackd.store.reader import JournalReader

__all__ = ["JournalReader", "SqlJournal"]
