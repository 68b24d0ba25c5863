"""From a file to a ``Config``, or to everything that is wrong with it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from rollbackd.config.complaints import faults
from rollbackd.config.cross_checks import cross_checks, static_checks
from rollbackd.config.document import Document, read
from rollbackd.config.models import ConfigModel
from rollbackd.config.models.rollouts import StaticModel
from rollbackd.config.problems import ConfigError, Fault, Problem
from rollbackd.config.quantities import shown
from rollbackd.config.settings import Config, StaticRollout

M = TypeVar("M", bound=BaseModel)


class _StaticFile(RootModel[list[StaticModel]]):
    """The file that ``rollouts.static_file`` names."""


def load(file: Path) -> Config:
    """Read a configuration.

    Raises:
        ConfigError: with every problem of the file.
    """
    document = read(file)
    if not isinstance(document.values, dict):
        what = f"expected keys such as source: and policies:, got {shown(document.values)}"
        raise ConfigError(file, [Problem(document.line(()), "", what)])
    model = _validated(document, ConfigModel, cross_checks(document.values))
    return model.config(file)


def load_static_rollouts(file: Path) -> tuple[StaticRollout, ...]:
    """Read the file that ``rollouts.static_file`` names: a list as under ``rollouts.static``.

    Raises:
        ConfigError: with every problem of the file.
    """
    document = read(file)
    model = _validated(document, _StaticFile, static_checks(document.values, ()))
    return tuple(rollout.settings() for rollout in model.root)


def _validated(document: Document, model: type[M], more: Iterable[Fault]) -> M:
    """Return the file as a model; raise ConfigError with its faults and the ``more`` ones."""
    found = list(more)
    validated = None
    try:
        validated = model.model_validate(document.values)
    except ValidationError as error:
        found.extend(faults(error, model))
    if validated is None or found or document.repeated:
        problems = {document.problem(fault) for fault in found}
        raise ConfigError(document.file, problems | set(document.repeated))
    return validated
