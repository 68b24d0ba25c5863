"""The tables as the code reads and writes them; how they came to be is in ``migrations``."""

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, Table, Text

HEAD = "0003"
"""The schema revision this code works with; a test compares it with Alembic's head."""

KNOWN = ("0001", "0002", "0003")
"""Every revision there ever was, oldest first; anything else was written by somebody newer."""

metadata = MetaData()

entries = Table(
    "entries",
    metadata,
    # SQLite only counts up by itself when the key is exactly INTEGER.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Float, nullable=False),
    Column("watch_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    # JSON as text: what was written is what is read, on every database.
    Column("data", Text, nullable=False),
    # Sequence numbers are never given twice, not even after the newest entry was pruned.
    sqlite_autoincrement=True,
)

prune_permits = Table(
    "prune_permits",
    metadata,
    # A watch whose entries the triggers let go; rows live only inside a pruning transaction.
    Column("watch_id", Text, primary_key=True),
)

fence = Table(
    "fence",
    metadata,
    # One row. Whoever raises the token may write, and nobody with an earlier one.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("token", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    # Who leads, where no Kubernetes Lease says so; the columns are those of a Lease.
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("duration_s", Float, nullable=False),
    Column("transitions", BigInteger, nullable=False),
    # Counts the writes: who writes must have seen the newest.
    Column("version", BigInteger, nullable=False),
)

schema_version = Table("alembic_version", MetaData(), Column("version_num", Text))
