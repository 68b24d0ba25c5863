"""Secrets: named in the configuration, kept elsewhere, read when they are needed."""

import os
from dataclasses import dataclass
from pathlib import Path


class SecretError(Exception):
    """A secret cannot be read now; says where it was looked for, never what it holds."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is: in a file, or in an environment variable; exactly one of the two."""

    file: Path | None = None
    env: str | None = None

    def __str__(self) -> str:
        """Say where it is."""
        return f"the file {self.file}" if self.file else f"the environment variable {self.env}"

    def read(self) -> str:
        """Return the secret as it is now, without white space around it.

        Read it for each use: mounted tokens are replaced while the daemon runs.

        Raises:
            SecretError: there is nothing to read.
        """
        if self.file is not None:
            try:
                value = self.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "not text"
                raise SecretError(f"{self} cannot be read: {why}") from error
            if not value:
                raise SecretError(f"{self} is empty")
            return value
        value = os.environ.get(self.env or "", "").strip()
        if not value:
            raise SecretError(f"{self} is not set")
        return value
