"""The configuration: YAML in, frozen dataclasses out, or every problem of the file at once.

``load`` reads a file; ``settings`` holds what the rest of the daemon sees. pydantic stays inside
this package.
"""

from rollbackd.config.loading import load, load_static_rollouts
from rollbackd.config.problems import ConfigError, Problem
from rollbackd.config.settings import Config

__all__ = ["Config", "ConfigError", "Problem", "load", "load_static_rollouts"]
