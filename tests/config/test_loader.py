"""Plain data with lines, and the message for every file that is refused."""

import json
import math
from pathlib import Path

import pytest
import yaml

from bench.config import loader
from bench.config.loader import Place
from bench.errors import ConfigError

INVISIBLE = "an invisible character. Allowed: visible characters"


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        loader.parse(text, "s.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1e-3", 1e-3),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("+3", 3),
        ("-0", 0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("[0, 1e-1]", [0, 0.1]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_numbers_and_words_have_their_types(text: str, value: object) -> None:
    number = loader.value(text, "--set x")
    assert number == value
    assert type(number) is type(value)


@pytest.mark.parametrize(
    "text",
    ["no", "off", "on", "yes", "y", "True", "NULL", "1:30", "0o17", "017", "0x1f", "1_000", ".inf"]
    + [".nan", "nan", "inf", "-.inf", "1e999", "2020-01-01", "9" * 5000, "1e", "0b1", "=", "1,5"],
)
def test_yaml_1_1_words_stay_text(text: str) -> None:
    assert loader.value(text, "--set x") == text


def test_lines_and_columns_of_keys_values_and_items() -> None:
    text = "a: 1\nb:\n  - {c: x}\n  -\n    d:\n      e\n"
    document = loader.parse(text, "s.yaml")
    assert document.data == {"a": 1, "b": [{"c": "x"}, {"d": "e"}]}
    assert document.keys["b", 0, "c"] == Place(3, 6)
    assert document.values["b", 0, "c"] == Place(3, 9)
    assert document.values["b", 1, "d"] == Place(6, 7)
    assert [document.line_of(w) for w in [("a",), ("b", 0, "c"), ("b", 1), ("b", 1, "d")]] == [
        1,
        3,
        5,
        5,
    ]


def test_line_of_a_missing_place_is_that_of_its_parent() -> None:
    document = loader.parse("a: 1\nb: {c: 2}\n", "s.yaml")
    assert document.line_of(("b", "x", 3)) == 2
    assert document.line_of(("z",)) == 1


def test_keys_are_text_and_not_repeated() -> None:
    document = loader.parse('no: 1\n1: 2\n"1": 3\nx: {y: 1,\n  y: 2}\nno: 4\n', "s.yaml")
    assert document.data == {"no": 1, "1": 2, "x": {"y": 1}}
    assert document.format(document.problems) == [
        "s.yaml:3  1: duplicate key, first defined on line 2",
        "s.yaml:5  x.y: duplicate key, first defined on line 4",
        "s.yaml:6  no: duplicate key, first defined on line 1",
    ]


def test_tags_are_refused() -> None:
    assert refused("a: 1\nc: !!python/object:os.system 3\n").splitlines() == [
        "s.yaml:2  tag tag:yaml.org,2002:python/object:os.system: not allowed, write a plain value",
    ]


@pytest.mark.case("aliases")
def test_aliases_are_written_out() -> None:
    recipe = {"epochs": 2, "milestones": [1]}
    text = yaml.safe_dump({"recipe": recipe, "teachers": {"recipe": recipe}})
    assert "*id001" in text
    document = loader.parse(text, "s.yaml")
    assert document.data == {"recipe": recipe, "teachers": {"recipe": recipe}}
    document.data["recipe"]["epochs"] = 3
    assert document.data["teachers"]["recipe"]["epochs"] == 2


@pytest.mark.case("aliases")
def test_merge_keys_add_entries_that_own_keys_override() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  y: 5\n  <<: [*a, *b]\nd: {<<: {e: 6}}\n"
    document = loader.parse(text, "s.yaml")
    assert document.problems == []
    assert document.data["c"] == {"x": 1, "y": 5, "z": 4}
    assert document.data["d"] == {"e": 6}
    assert [document.line_of(("c", key)) for key in "xyz"] == [1, 4, 2]


@pytest.mark.case("aliases")
def test_merge_keys_merge_merged_mappings() -> None:
    document = loader.parse("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n", "s.yaml")
    assert document.data["c"] == {"x": 1, "y": 2}


def test_values_that_cannot_be_merged_and_keys_that_are_not_text_are_refused() -> None:
    document = loader.parse("<<: 3\n? [1]\n: 2\n", "s.yaml")
    assert document.data == {}
    assert document.format(document.problems) == [
        "s.yaml:1  <<: not a mapping. Allowed: an alias of a mapping, or a list of aliases",
        "s.yaml:2  a key that is not plain text",
    ]


@pytest.mark.case("tabs")
@pytest.mark.parametrize(
    "text",
    [
        "a: 1\t\nb:\t[1,\t2]\t# c\n\t\nc: {d: x}\n",
        json.dumps({"a": 1, "b": [1, 2], "c": {"d": "x"}}, indent="\t"),
        '{\t"a":1,"b":[1,2],"c":{"d":"x"}}',
    ],
)
def test_tabs_separate_tokens(text: str) -> None:
    assert loader.parse(text, "s.yaml").data == {"a": 1, "b": [1, 2], "c": {"d": "x"}}


@pytest.mark.case("tabs")
def test_json_escapes_beyond_16_bits_are_one_character() -> None:
    assert loader.parse(json.dumps({"a": "\U0001f600 / é"}), "s.json").data == {
        "a": "\U0001f600 / é"
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml:1  empty. Allowed: a mapping of keys to values"),
        ("# only this\n", "s.yaml:1  empty. Allowed: a mapping of keys to values"),
        ("\n- a\n", "s.yaml:2  found a list. Allowed: a mapping of keys to values"),
        ("hello", "s.yaml:1  found the text 'hello'. Allowed: a mapping of keys to values"),
        ("a: 1\n\tb: 2", "s.yaml:2  not YAML: a tab where only spaces are allowed (column 1)"),
        (
            "a: b: c",
            "s.yaml:1  not YAML: mapping values are not allowed here; quote a text that contains "
            "': ' (column 5)",
        ),
        (
            "a: [0\nb: 1\n",
            "s.yaml:2  not YAML: expected ',' or ']', but got ':', while parsing a flow sequence "
            "that begins on line 1 (column 2)",
        ),
        (
            "a: &x 1\nb: &x 2\n",
            "s.yaml:2  not YAML: found duplicate anchor 'x'. Allowed: another name for the second "
            "anchor (column 4)",
        ),
        (
            "a:\u00a01\nb: 2\n",
            "s.yaml:2  not YAML: mapping values are not allowed here; quote a text that contains "
            "': ' (column 2)\n"
            "s.yaml:1  contains U+00A0 NO-BREAK SPACE. Allowed between words of YAML: spaces",
        ),
        (
            "a: [1\n",
            "s.yaml:2  not YAML: expected ',' or ']', but got '<stream end>', while parsing a flow "
            "sequence that begins on line 1 (column 1)",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "s.yaml:2  not YAML: a second document; a file may contain only one (column 1)",
        ),
        (
            "a: 1\nb: \x00",
            "s.yaml:2  contains U+0000, an invisible character. Allowed: visible characters",
        ),
        (
            "a: 1 # \u00ad",
            f"s.yaml:1  contains U+00AD SOFT HYPHEN, {INVISIBLE}",
        ),
        ("a: " + "[" * 1000, "s.yaml:1  more than 20 levels of nesting"),
        ("a: " + "{a: " * 1000, "s.yaml:1  more than 20 levels of nesting"),
        ("a: [" + "x, " * 5000 + "]", "s.yaml:1  more than 5,000 keys and values"),
        ('a: 1\nb: "\\UFFFFFFFF"', "s.yaml:2  not YAML: a number out of range"),
        (f"%YAML 1.{'9' * 5000}\n---\na: 1", "s.yaml:1  not YAML: a number out of range"),
    ],
)
def test_unreadable_text_is_refused_with_its_line(text: str, message: str) -> None:
    assert refused(text) == message


def test_escaped_invisible_characters_are_refused_with_their_line() -> None:
    document = loader.parse('a:\n  b: "x\\0\\e\\u202ey"\n"c\\x1b": 1\nк: 2\n"a\\nb": 3', "s.yaml")
    assert document.data == {"a": {"b": "xy"}}
    assert document.format(document.problems) == [
        "s.yaml:2  a.b: contains U+0000, an invisible character. Allowed: visible characters",
        f"s.yaml:3  the key 'c' contains U+001B, {INVISIBLE}",
        "s.yaml:4  'к' contains U+043A CYRILLIC SMALL LETTER KA. Allowed in names: ASCII",
        "s.yaml:5  the key 'a b' contains a tab or a line break",
    ]


def test_keys_and_quotations_have_a_maximum_length() -> None:
    document = loader.parse(f"{'k' * 201}: 1\n", "s.yaml")
    (line,) = document.format(document.problems)
    assert line == "s.yaml:1  a key of 201 characters. Allowed: at most 200"
    assert len(refused(f"a: &{'x' * 9000} 1\nb: !{'y' * 9000} 1\nc: *{'z' * 9000}\n")) < 400


@pytest.mark.case("aliases")
@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]", "a: &a {b: *a}", "a: &a {b: 1, <<: *a}"],
)
def test_aliases_of_themselves_are_refused(text: str) -> None:
    assert "s.yaml:1  too large with its aliases written out" in refused(text)


@pytest.mark.case("aliases")
def test_nested_merge_keys_are_refused_without_expansion() -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12)]
    assert "too large with its aliases written out" in refused("\n".join(lines))


@pytest.mark.case("aliases")
def test_nested_aliases_are_refused_without_expansion() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "too large with its aliases written out" in refused("\n".join(lines))


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    large, latin, marked = tmp_path / "large", tmp_path / "latin", tmp_path / "marked"
    with large.open("wb") as file:
        file.truncate(100 * 1024**2)
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    for path, message in [
        (large, "larger than 256 KiB, the maximum"),
        (tmp_path, "not a file"),
        (tmp_path / "none", "cannot be read: No such file or directory"),
    ]:
        with pytest.raises(ConfigError) as error:
            loader.load(path)
        assert str(error.value) == f"{path}: {message}"
    with pytest.raises(
        ConfigError, match=r"latin:2  not text in UTF-8. Allowed: UTF-8; save the file as UTF-8$"
    ):
        loader.load(latin)
    with pytest.raises(ConfigError, match=r"^'x\\x1b\.yaml': the file's name contains U\+001B, an"):
        loader.load(tmp_path / "x\x1b.yaml")
    marked.write_bytes("\ufefftitle: é\r\n".encode())
    assert loader.load(marked).data == {"title": "é"}


def test_a_number_is_never_infinite() -> None:
    assert math.isfinite(loader.value("1e308", "--set x"))
    assert loader.value("1" * 41, "--set x") == "1" * 41


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes"),
        ("[" * 200_000, "nested deeper than 40 levels, the maximum"),
        ("[" * 50 + "]" * 50, "nested deeper than 40 levels, the maximum"),
    ],
)
def test_invalid_json_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        loader.load_json(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"a": [1, null]}')
    assert loader.load_json(tmp_path / "b.json") == {"a": [1, None]}


@pytest.mark.case("encodings")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_named(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: 1\nb: 2\n", encoding)
    with pytest.raises(ConfigError) as error:
        loader.load(path)
    message = "1  text in UTF-16 or UTF-32. Allowed: UTF-8; save the file as UTF-8"
    assert str(error.value) == f"{path}:{message}"


@pytest.mark.case("encodings")
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends_and_a_byte_order_mark_are_read(line_end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + line_end.join([b"a: 1", b"b: 2", b""]))
    document = loader.load(path)
    assert document.data == {"a": 1, "b": 2}
    assert document.line_of(("b",)) == 2


def test_a_file_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.yaml"
    path.write_text("a: 1\n")
    with pytest.raises(ConfigError, match="the file's name contains a tab or a line break"):
        loader.load(path)
