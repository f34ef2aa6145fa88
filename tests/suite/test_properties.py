"""Properties of every text, every value and every change."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.config import loader
from bench.config.loader import MAX_KEY_LENGTH
from bench.config.text import hidden, visible
from bench.errors import ConfigError
from bench.suite import read, render
from tests import toy
from tests.soak import times

from .conftest import BASE
from .test_render import bare

pytestmark = [pytest.mark.slow, pytest.mark.soak]
often = settings(
    max_examples=times(200, 20_000), derandomize=True, deadline=None, database=None
)  # fmt: skip

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40).map(visible)
KEY = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | TEXT
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(KEY, inside, max_size=4),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    """Return whether both are equal and of the same types: 1 is neither 1.0 nor true."""
    if isinstance(a, dict):
        return type(b) is dict and same(list(a.items()), list(b.items()))
    if isinstance(a, list | tuple):
        matched = len(a) == len(b) and all(map(same, a, b))
        return isinstance(b, list | tuple) and matched
    return type(a) is type(b) and a == b


@often
@given(st.dictionaries(KEY, VALUE, max_size=5))
def test_json_is_read_unchanged(data: dict[str, Any]) -> None:
    document = loader.parse(json.dumps(data, ensure_ascii=False), "s.yaml")
    assert document.problems == []
    assert same(document.data, data)


@often
@given(st.text(max_size=200))
@example('"\\UFFFFFFFF"')
@example("%YAML 1." + "9" * 5000)
@example("? " * 100)
def test_any_text_is_a_mapping_or_refused_with_a_line(text: str) -> None:
    try:
        document = loader.parse(text, "s.yaml")
    except ConfigError as error:
        lines = error.lines
    else:
        assert type(document.data) is dict
        lines = tuple(document.format(document.problems))
    for line in lines:
        number = int(line.removeprefix("s.yaml:").split("  ")[0])
        assert 1 <= number <= text.count("\n") + text.count("\r") + 1
        assert not hidden(line)


@often
@given(st.floats() | st.integers())
def test_number_is_read_as_that_number_or_text(number: float) -> None:
    number_read = loader.value(repr(number), "--set x")
    if len(repr(number)) > 40 or not math.isfinite(number):
        assert number_read == repr(number)
    else:
        assert same(number_read, number)


@often
@given(st.text(max_size=MAX_KEY_LENGTH))
def test_key_is_visible_ascii_or_refused(key: str) -> None:
    document = loader.parse(f"{json.dumps(key)}: 1", "s.yaml")
    assert document.data == ({key: 1} if key.isascii() and key.isprintable() else {})
    assert bool(document.problems) is not bool(document.data)


PLACES = st.sampled_from(
    ["title", "caption", "seeds", "recipe", "recipe.lr", "recipe.milestones.0", "pairs.0.teacher"]
    + ["pairs.99", "methods", "methods.kd", "methods.kd.kd.temperature", "options.crd.negatives"]
    + ["dataset", "dataset.size", "dataset.name.x", "teachers.checkpoints.vgg8", "plugins", "x.y.z"]
)


@settings(often, max_examples=times(150, 20_000))
@given(PLACES | st.text(max_size=20), VALUE.map(json.dumps) | st.text(max_size=30))
@example("pairs." + "9" * 5000, "1")
@example("x" + ".x" * 5000, "1")
@example("\0", "null")
@example("methods.\0kd", "1")
def test_any_change_is_made_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: str, value: str
) -> None:
    path = toy.write(tmp_path_factory.getbasetemp())
    change = f"{place}={value}"
    try:
        assert read(path, [change]).changes == (change,)
    except ConfigError as error:
        refused = error
    else:
        return
    assert all(line.startswith((f"{path}:", "--set ")) for line in refused.lines)


@settings(often, max_examples=times(50, 5_000))
@given(title=TEXT.map(lambda text: f"t{text}".replace("\n", "")), caption=TEXT)
def test_titles_and_captions_survive_rendering(
    tmp_path_factory: pytest.TempPathFactory, title: str, caption: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    first, again = folder / "first.yaml", folder / "again.yaml"
    texts = {"title": title, "caption": caption}
    added = "".join(f"{k}: {json.dumps(v, ensure_ascii=False)}\n" for k, v in texts.items())
    first.write_text(BASE.replace("title: A test\n", added), "utf-8")
    suite = read(first)
    assert (suite.title, suite.caption) == (title.strip(), caption.strip())
    again.write_text(render(suite), "utf-8")
    assert bare(read(again)) == bare(suite)
