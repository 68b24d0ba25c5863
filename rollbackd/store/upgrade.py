"""Bringing a journal's schema up to date with Alembic; its migrations are in the wheel."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, func, select

UPGRADE_LOCK = 7_308_624_099
"""Replicas that start together upgrade one after the other: key of PostgreSQL's advisory lock."""

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config() -> Config:
    """Return Alembic's configuration, without the usual ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine, to: str = "head") -> None:
    """Run the missing migrations in one transaction: all of them or none.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database refused; the schema is as it was.
    """
    config = alembic_config()
    with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, to)
