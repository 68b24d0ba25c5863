"""Append-only, kept by the database itself: entries of watches with a permit may go, no others."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SQLITE = (
    """
    CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END
    """,
    """
    CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
    WHEN NOT EXISTS (SELECT 1 FROM prune_permits WHERE watch_id = OLD.watch_id)
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END
    """,
)

_POSTGRESQL = (
    """
    CREATE FUNCTION entries_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF EXISTS (SELECT 1 FROM prune_permits WHERE watch_id = OLD.watch_id) THEN
                RETURN OLD;
            END IF;
        END IF;
        RAISE EXCEPTION 'the journal is append-only';
    END $$
    """,
    """
    CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION entries_append_only()
    """,
    """
    CREATE TRIGGER entries_no_truncate BEFORE TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION entries_append_only()
    """,
)


def upgrade() -> None:
    """Create the permits and the triggers that ask for them."""
    op.create_table("prune_permits", sa.Column("watch_id", sa.Text, primary_key=True))
    triggers = _POSTGRESQL if op.get_context().dialect.name == "postgresql" else _SQLITE
    for statement in triggers:
        op.execute(statement)
