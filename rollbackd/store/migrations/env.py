"""Alembic's entry: runs migrations on the connection it is given, or prints their SQL."""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    # Offline: `alembic upgrade --sql`, for administrators who run the SQL by hand.
    context.configure(dialect_name=context.config.attributes.get("dialect", "sqlite"))
else:
    context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
