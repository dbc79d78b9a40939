"""YAML is read as version 1.2 says, and every fault names its line."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.paths import REPOSITORY

from tasks.yaml_text import YamlError, line_of, read_yaml, read_yaml_text

FILES = [
    file
    for folder in ("examples", "deployments", "model/presets", "tasks/levels/shipped")
    for file in sorted((REPOSITORY / folder).glob("*.yaml"))
    if file.name not in ("docker.yaml", "kubernetes.yaml")  # of other programs, several documents
]
TEXT = """\
bulks:
  - Cu
  - {file: Pt.cif,
     label: on}
target: {CO: [-1, 0]}
"""
# Each line repeats the one before it nine times, so that 254 bytes stand for billions of values.
LAUGHS = "\n".join(
    ["a0: &a0 [1,1,1,1,1,1,1,1,1]"]
    + [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
)
MERGES = "\n".join(
    ["a0: &a0 {a: 1, b: 2, c: 3, d: 4, e: 5}"]
    + [f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9)]
)
CHAIN = "\n".join(["- &a0 [1]", *(f"- &a{i} [*a{i - 1}]" for i in range(1, 60))])


@pytest.mark.parametrize(
    "word", ["NO", "on", "off", "yes", "no", "y", "N", "12:30:00", "2026-01-31"]
)
def test_a_word_stays_a_word(word: str) -> None:
    assert read_yaml(f"a: {word}")[1] == {"a": word}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("010", 10),
        ("0o10", 8),
        (".inf", float("inf")),
        ("true", True),
        ("~", None),
    ],
)
def test_numbers_booleans_and_null_are_those_of_version_1_2(written: str, value: object) -> None:
    read = read_yaml(f"a: {written}")[1]["a"]
    assert (read, type(read)) == (value, type(value))


def test_a_key_of_any_word_is_text() -> None:
    assert read_yaml("on: 1\nNO: 2")[1] == {"on": 1, "NO": 2}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_that_ships_has_the_values_that_the_plain_library_reads(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert read_yaml(text)[1] == YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_a_text_without_a_document_is_none(text: str) -> None:
    assert read_yaml(text) == (None, None)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "each key may stand once, 'a' stands twice"),
        ("a: {b: 1,\n    b: 2}", 2, "'b' stands twice"),
        ("a: 1\nb: [2", 2, "not valid YAML"),
        ("a: 1\n\tb: 2", 2, "not valid YAML"),
        ("a: 1\nb: !!int abc", 2, "'abc' cannot be read as int"),
        ("a: 1\n? [b]\n: 2", 2, "a key is a word or a number"),
        ("a: 1\nb: &b [*b]", 2, "a part of itself"),
        ("a: !!python/object:os.system x", 1, "not valid YAML"),
        ("a: 1\nb: !!timestamp 2026-01-31", 2, "got one of type tag:yaml.org,2002:timestamp"),
        ("[" * 5000, 1, "at most 30 lists and mappings may stand within one another"),
        (CHAIN, 29, "at most 30 lists"),
        (f"a: 1\nb: {10**400}", 2, r"at most 9.2e\+18 in size, got '10000"),
        ("a: 0xffffffffffffffffff", 1, "in size, got '0xffff"),
        (f"a: {'9' * 5000}", 1, r"'9{56}\.\.\. cannot be read as int"),
        (f"a: {'x' * 10_001}", 1, "at most 10,000 characters, got 10,001 that begin with 'xxx"),
        ('a: "\\e[2J"', 1, r"no control characters, got '\\x1b'"),
        ('a: "\\ud800"', 1, "no control characters"),
        ("a: 1\n" + "#" * 500_000, 0, "at most 500,000 characters"),
        ("a: [" + "1," * 20_000 + "1]", 1, "at most 20,000 values"),
        (LAUGHS, 5, "an alias counts as all that it repeats"),
        (MERGES, 5, "an alias counts as all that it repeats"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_fault_names_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(YamlError, match=message) as refused:
        read_yaml(text)
    assert refused.value.line == line


def test_aliases_and_merged_keys_that_repeat_little_are_read() -> None:
    text = "base: &base {a: 1, b: [2]}\nmine: {<<: *base, a: 3}\nsame: *base\n"
    assert read_yaml(text)[1]["mine"] == {"a": 3, "b": [2]}
    assert read_yaml(text)[1]["same"] == {"a": 1, "b": [2]}


def test_a_file_is_not_read_further_than_it_may_be_long() -> None:
    with pytest.raises(YamlError, match="at most 500,000 characters"):
        read_yaml_text(Path("/dev/zero"))


def test_a_message_begins_with_file_and_line() -> None:
    assert YamlError("no value", 3).at("mine.yaml") == "mine.yaml, line 3: no value"
    assert YamlError("no value").at("mine.yaml") == "mine.yaml: no value"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("bulks", 0), 2),
        (("bulks", 1, "label"), 4),
        (("bulks", 1, "size"), 3),
        (("target", "CO", 1), 5),
        (("level",), 1),
    ],
)
def test_the_line_of_a_key_is_that_of_its_deepest_part(path: tuple[Any, ...], line: int) -> None:
    root, _ = read_yaml(TEXT)
    assert root is not None
    assert line_of(root, path) == line
