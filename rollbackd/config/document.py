"""Reading a YAML file: its values, the line of every key, and what is wrong with the text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rollbackd.config.problems import ConfigError, Fault, Location, Problem, key_path

MAX_BYTES = 4 * 1024 * 1024
"""Nobody writes more by hand; a larger file is the wrong file."""

MAX_VALUES = 200_000
"""Aliases can make a small file explode ("billion laughs"); this many values are enough."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file.

    Attributes:
        values: plain values. lines: the line (from 1) of every key and list item.
        repeated: keys that are there twice; YAML lets them pass, and the last one counts.
    """

    file: Path
    values: Any
    lines: dict[Location, int]
    repeated: tuple[Problem, ...] = ()

    def line(self, location: Location) -> int:
        """Return the line of a value or, when it is not in the file, of what would hold it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def problem(self, fault: Fault) -> Problem:
        """Return a fault with its line."""
        line = self.line(fault.location)
        return Problem(line, key_path(fault.location), fault.what, fault.hint)


def read(file: Path) -> Document:
    """Read a YAML file of plain values.

    Raises:
        ConfigError: it cannot be read, is no text, no YAML, or empty.
    """
    return _read(file, _only)[0]


def read_all(file: Path) -> list[Document]:
    """Read a YAML file of one or more documents, as manifests are; those without content are left out.

    Raises:
        ConfigError: as ``read``.
    """
    return _read(file, _each)


def _only(loader: yaml.SafeLoader) -> Iterator[yaml.Node]:
    node = loader.get_single_node()
    if node is not None:
        yield node


def _each(loader: yaml.SafeLoader) -> Iterator[yaml.Node]:
    while loader.check_node():
        node = loader.get_node()
        is_empty = isinstance(node, yaml.ScalarNode) and node.value in {"", "~", "null"}
        if node is not None and not is_empty:
            yield node


def _read(file: Path, nodes: Callable[[yaml.SafeLoader], Iterator[yaml.Node]]) -> list[Document]:
    text = _text(file)
    loader = yaml.SafeLoader(text)
    found = []
    try:
        for node in nodes(loader):
            repeated = tuple(_repeated(node))
            values = loader.construct_document(node)
            found.append(Document(file, values, dict(_lines(node, ())), repeated))
        if not found:
            hint = "see examples/ for one to begin with"
            raise ConfigError(file, [Problem(0, "", "the file is empty", hint)])
    except yaml.MarkedYAMLError as error:
        raise ConfigError(file, [_syntax(error)]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(file, [Problem(0, "", f"not valid YAML: {error}")]) from error
    except RecursionError as error:
        raise ConfigError(file, [Problem(0, "", "nested too deeply")]) from error
    finally:
        loader.dispose()
    return found


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(file, [Problem(0, "", "there is no such file")]) from error
    except IsADirectoryError as error:
        hint = "name the file in it"
        raise ConfigError(file, [Problem(0, "", "this is a directory", hint)]) from error
    except OSError as error:
        raise ConfigError(file, [Problem(0, "", f"cannot be read: {error.strerror}")]) from error
    if len(content) > MAX_BYTES:
        size = f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB"
        raise ConfigError(file, [Problem(0, "", size, "is it the right file?")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"not a text file: byte {error.start} is not UTF-8"
        raise ConfigError(file, [Problem(0, "", what, "is it the right file?")]) from error
    if "\0" in text:
        what = "not a text file: it holds NUL bytes"
        raise ConfigError(file, [Problem(0, "", what, "is it the right file?")])
    return text


def _syntax(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = error.problem or "not valid YAML"
    hint = ""
    if "'\\t'" in what:
        what, hint = "a tab where YAML wants spaces", "indent with spaces"
    elif "mapping values are not allowed" in what:
        hint = "a value that holds ': ' needs quotes; or the line is indented too far"
    elif "could not determine a constructor" in what:
        hint = "only plain values are allowed"
    elif "expected a single document" in (error.context or ""):
        what, hint = "a second document begins here", "one file holds one configuration"
    elif "cannot start any token" in what:
        hint = "quote the value"
    elif "did not find expected" in what or "could not find expected" in what:
        hint = "look for an unclosed quote or bracket, or a wrong indentation, just above"
    return Problem(mark.line + 1 if mark else 0, "", f"not valid YAML: {what}", hint)


def _repeated(root: yaml.Node) -> Iterator[Problem]:
    """Yield keys that are there twice.

    Raises:
        yaml.YAMLError: a value contains itself, or a key is no plain text.
    """
    seen: set[int] = set()
    open_: set[int] = set()

    def visit(node: yaml.Node, location: Location) -> Iterator[Problem]:
        if id(node) in open_:
            raise yaml.MarkedYAMLError(
                problem="a value that contains itself", problem_mark=node.start_mark
            )
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            return
        seen.add(id(node))
        open_.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _repeated_here(node, location)
        for key, child in _children(node):
            yield from visit(child, (*location, key))
        open_.remove(id(node))

    yield from visit(root, ())


def _repeated_here(node: yaml.MappingNode, location: Location) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(
                problem="a key that is not plain text", problem_mark=key.start_mark
            )
        if key.value in first:
            yield Problem(
                line,
                key_path((*location, key.value)),
                f"the key is there already, in line {first[key.value]}",
                "keep one of the two",
            )
        first.setdefault(key.value, line)


def _children(node: yaml.Node) -> Iterator[tuple[str | int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((str(key.value), value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from enumerate(node.value)


def _lines(root: yaml.Node, location: Location) -> Iterator[tuple[Location, int]]:
    waiting: list[tuple[Location, yaml.Node, int]] = [
        (location, root, root.start_mark.line + 1),
    ]
    for _ in range(MAX_VALUES):
        if not waiting:
            return
        location, node, line = waiting.pop()
        yield location, line
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                waiting.append(((*location, str(key.value)), value, key.start_mark.line + 1))
        elif isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                waiting.append(((*location, i), item, item.start_mark.line + 1))
    raise yaml.YAMLError(f"more than {MAX_VALUES} values; do aliases repeat each other?")
