"""Files that are no configuration at all."""

from pathlib import Path

import pytest

from rollbackd.config.document import read
from rollbackd.config.problems import ConfigError, Problem


def problem(file: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read(file)
    (found,) = caught.value.problems
    return found


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", 0, "the file is empty"),
        (b"# only a comment\n", 0, "the file is empty"),
        (b"\x7fELF\x02\x01\x01\0\0\xff\xfe", 0, "not a text file"),
        (b"tick: 1s\0", 0, "NUL bytes"),
        ("tick: 1s".encode("utf-16"), 0, "not a text file"),
        (b"a: 1\n\tb: 2\n", 2, "a tab where YAML wants spaces"),
        (b"a: 1\nb: c: d\n", 2, "mapping values are not allowed here"),
        (b"a: 1\nb: [1, 2\nc: 3\n", 3, "did not find expected|expected ',' or ']'"),
        (b"a: 1\n---\nb: 2\n", 2, "a second document begins here"),
        (
            b"a: 1\nb: !!python/object/apply:os.system [ls]\n",
            2,
            "could not determine a constructor",
        ),
        (b"a: 1\nb: &x [*x]\n", 2, "a value that contains itself"),
        (b"? [a, b]\n: 1\n", 1, "a key that is not plain text"),
        (b"a: *nowhere\n", 1, "found undefined alias"),
        (b"a: 2024-13-45\n", 0, "not valid YAML"),
        (b"a: " + b"[" * 5000, 0, "nested too deeply"),
        (b"#" * 5_000_000, 0, "larger than 4 MiB"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(
    tmp_path: Path, content: bytes, line: int, says: str
) -> None:
    file = tmp_path / "rollbackd.yaml"
    file.write_bytes(content)
    found = problem(file)
    assert found.line == line
    assert any(part in found.what for part in says.split("|")), found.what


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rollbackd.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    file.write_text("\n".join(lines))
    assert "do aliases repeat each other?" in problem(file).what


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.yaml").what == "there is no such file"
    assert problem(tmp_path).what == "this is a directory"


def test_lines_of_keys_items_and_what_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "rollbackd.yaml"
    file.write_text(
        "a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\nm: &m\n  k: 1\nn:\n  <<: *m\n  l: 2\n"
    )
    document = read(file)
    assert document.values["n"] == {"k": 1, "l": 2}
    lines = {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c", 0): 4,
        ("a", "c", 1, "d"): 5,
        ("a", "c", 1, "nothing"): 5,
        ("a", "nothing", "below"): 1,
        ("n", "k"): 7,
        (): 1,
    }
    assert {location: document.line(location) for location in lines} == lines


def test_keys_that_are_there_twice_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "rollbackd.yaml"
    file.write_text("a: 1\nb:\n  - c: 1\n    d: 2\n    c: 3\na: 2\n")
    assert [(p.line, p.path, p.what) for p in read(file).repeated] == [
        (6, "a", "the key is there already, in line 1"),
        (5, "b[0].c", "the key is there already, in line 3"),
    ]
