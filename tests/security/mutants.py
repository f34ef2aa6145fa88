"""Random suites, each a function of a seed.

A valid suite with changed characters, a valid suite with changed nodes, or a suite generated from
the schema with values inside, at and outside of every range.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import yaml

import distillers
from bench import data, models, suite
from bench.suite.schema import SuiteFile
from tests import toy

CHARACTERS = (
    "\n\n   :-,#[]{}&*!|>'\"%@`?~<=\\\t0123456789.eE+-_/azAZ\r\0\x07\x1b\x85\u2028\u202eкé€😀"
)
TEXTS = (
    "", "~", "null", "yes", "=", "<<", "a" * 300, "😀" * 80, "a\nb", "a\rb", "../../x",
    "/etc/passwd", "/dev/zero", "~nobody-here/x", "folder:", "folder:/", "folder:~nobody-here",
    f"folder:{'é' * 190}", "folder:a\0b", "timm:", "timm:resnet1", "torchvision:../x", "resnet8\0",
    "кd", "ｋd", "\u202egnp.exe", "\ufeff", "\x1b[2J", "{{x}}", "${HOME}", "%s%n", "$(touch x)",
    r"\input{x}", "<script>alert(1)</script>", "=1+1", "0-999999999", "0-2,1", "1e309", "same",
    "papers",
)  # fmt: skip
NUMBERS = (
    0, 1, 2, 3, 4, -1, 4096, 4097, 10**6, 10**6 + 1, 2**31, 2**31 + 1, 2**63, 2**64, 10**39, 10**40,
    0.0, -0.0, 0.1, 0.5, 1.0, 1e-320, 1e308, -1e308, float("inf"), float("nan"),
)  # fmt: skip
RAW = (  # YAML that PyYAML does not dump
    "&a [x]", "*a", "!!python/object/apply:os.system ['touch executed']", "!!binary aGk=", "!x y",
    '"\\0"', '"\\ud800"', '"\\UFFFFFFFF"', '"\\N\\L\\P"', '"\\x9b"', "'", '"', "|", ">-", "? [x]",
    "- - - -", "[" * 50, "{a: " * 50, "%YAML 9.9", "---", "...", "\t", "9" * 41, "9" * 5000, "0x1f",
    "1e999", ".inf", ".nan", "{<<: {a: 1}}", "- ", ": ", "#", "@", "`",
)  # fmt: skip


def mutant(number: int) -> str:
    """Return the suite of a seed, as text."""
    rng = random.Random(number)
    text = rng.choice((_with_changed_text, _with_changed_nodes, _from_schema))(rng)
    if rng.random() < 0.1:
        text = text.replace(rng.choice(text.splitlines() or [""]), rng.choice(RAW), 1)
    return text


def small(number: int) -> str:
    """Return the toy suite with one or two changed nodes: it often trains in seconds."""
    rng = random.Random(number)
    content = yaml.safe_load(toy.SUITE)
    for _ in range(rng.choice((1, 1, 2))):
        container, key = rng.choice(list(_places(content)))
        container[key] = rng.choice(
            (*NUMBERS[:8], 0.5, 1e308, "same", "student", "kd", "crd+kd", "sp")
        )
    return yaml.safe_dump(content, sort_keys=False)


@cache
def _words() -> tuple[str, ...]:
    """Return keys, and names of networks, data sets, distillers, methods and options."""
    words = {*data.names(), *models.names(), *distillers.names(), *suite.canonical()}
    words |= {"temperature", "width", "negatives", "weight", "rounds", "stage", "form", "relu"}
    for part in (_schema(), *_schema()["$defs"].values()):
        words |= set(part.get("properties", ()))
    return tuple(sorted(words))


@cache
def _schema() -> dict[str, Any]:
    return SuiteFile.model_json_schema()


@cache
def _good() -> tuple[str, ...]:
    texts = [path.read_text("utf-8") for path in suite.shipped()]
    bare = ["".join(f"{x}\n" for x in t.splitlines() if not x.startswith("#")) for t in texts]
    return (*bare, toy.SUITE, toy.SUITE, toy.SUITE)


def _with_changed_text(rng: random.Random) -> str:
    """Return a valid suite with some changed characters, words or lines."""
    text = rng.choice(_good())
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 1, 1, 2, 10, 200)))
        lines = text.splitlines(keepends=True) or [""]
        new: Callable[[], str] = rng.choice(
            (
                lambda: rng.choice(CHARACTERS),
                lambda: rng.choice(_words()),
                lambda: rng.choice(RAW),
                lambda: str(rng.choice(NUMBERS)),
                lambda: rng.choice(TEXTS),
                lambda lines=lines: rng.choice(lines),
                str,
            )
        )
        text = text[:start] + new() + text[end:]
    return text


def _with_changed_nodes(rng: random.Random) -> str:
    """Return a valid suite with some nodes replaced, removed, renamed, moved or wrapped."""
    content = yaml.safe_load(rng.choice(_good()))
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        container, key = rng.choice(list(_places(content)) or [(content, None)])
        if key is None:
            break
        match rng.randrange(6):
            case 0:
                del container[key]
            case 1:
                container[key] = [container[key]]
            case 2:
                container[key] = {rng.choice((*_words(), *TEXTS)): container[key]}
            case 3 if isinstance(container, dict):
                container[rng.choice((*_words(), *TEXTS))] = container.pop(key)
            case 4:
                source, place = rng.choice(list(_places(content)))
                container[key] = _copied(source[place])
            case _:
                container[key] = _value(rng)
    return _dumped(content, rng)


def _places(content: Any) -> Any:
    """Yield each (container, key) in plain data."""
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


def _copied(content: Any) -> Any:
    return yaml.safe_load(yaml.safe_dump(content))


def _value(rng: random.Random) -> Any:
    kinds: Sequence[Sequence[Any]] = (TEXTS, NUMBERS, _words(), (True, False, None, [], {}))
    return rng.choice(rng.choice(kinds))


def _from_schema(rng: random.Random) -> str:
    """Return a suite generated from the schema, mostly valid."""
    return _dumped(_fitting(_schema(), "", rng), rng)


def _fitting(part: Mapping[str, Any], name: str, rng: random.Random) -> Any:
    """Return a value for a part of the schema and the key of that name."""
    if rng.random() < 0.02:
        return _value(rng)
    if "$ref" in part:
        return _fitting(_schema()["$defs"][part["$ref"].rpartition("/")[2]], name, rng)
    if choices := part.get("anyOf") or part.get("oneOf"):
        return _fitting(rng.choice(choices), name, rng)
    if "const" in part or "enum" in part:
        return rng.choice(part.get("enum") or [part["const"]])
    match part.get("type"):
        case "object":
            return _mapping(part, rng)
        case "array":
            items = part.get("items") or {}
            return [_fitting(items, name, rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        case "integer" | "number" as kind:
            return _number(part, kind, rng)
        case "boolean":
            return rng.random() < 0.5
        case "string":
            return _named(name, rng)
    return _value(rng)


def _mapping(part: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    required = part.get("required", ())
    mapping = {
        key: _fitting(property_, key, rng)
        for key, property_ in part.get("properties", {}).items()
        if rng.random() < (0.97 if key in required else 0.3)
    }
    if isinstance(more := part.get("additionalProperties"), dict):
        keys = rng.sample((*distillers.names(), "temperature", "mine"), rng.choice((1, 2, 3)))
        mapping |= {key: _fitting(more, key, rng) for key in keys}
    return mapping


def _number(part: Mapping[str, Any], kind: str, rng: random.Random) -> Any:
    low = part.get("minimum", part.get("exclusiveMinimum", 0))
    high = part.get("maximum", part.get("exclusiveMaximum", 10**6))
    step = 1 if kind == "integer" else 1e-9
    near = (low, low + step, low - step, high, high + step, high - step)
    return rng.choice((1, 2, 3, 0.1 if kind == "number" else 5, rng.choice(near), low + step))


def _named(name: str, rng: random.Random) -> str:
    """Return a text for the key of that name, mostly an existing name."""
    names: Mapping[str, Sequence[str]] = {
        "name": (*data.names(), "folder:x"),
        "teacher": models.names(),
        "student": (*models.names(), "timm:resnet18", "torchvision:resnet18"),
        "methods": tuple(suite.canonical()),
        "path": ("x.pth", "suite.yaml", "../x"),
        "plugins": ("x.py", "suite.yaml"),
    }
    return rng.choice(names.get(name, _words()) if rng.random() < 0.9 else TEXTS)


def _dumped(content: Any, rng: random.Random) -> str:
    flow = rng.choice((None, True, False))
    return yaml.dump(
        content, default_flow_style=flow, allow_unicode=rng.random() < 0.5, sort_keys=False
    )
