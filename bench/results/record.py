"""A record's file: JSON, sealed by its sum, and of the shape that whoever reads it counts on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT = 1
SEAL = b',\n "sha256": "'  # begins the last line; the oldest records have none
Record = Mapping[str, Any]
LARGEST = 3.5e38  # of a number: float32 holds no larger one
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Numbers = dict[str, Number | None]


class Part(BaseModel):
    """A part of a record: no number is text, no text a number."""

    model_config = ConfigDict(strict=True)


class Epoch(Part):
    """An entry of the curves."""

    epoch: int
    lr: Number
    loss: Number | None
    terms: Numbers
    seconds: Number
    shared_seconds: Number
    images_per_second: Number
    peak_memory: int
    test: Numbers = {}
    validation: Numbers = {}


class Specification(Part):
    """The part of a specification that all have; the id sees to the rest."""

    network: str
    seed: int
    data: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    method: dict[str, dict[str, Any]] = {}
    teacher: str | None = None


class Network(Part):
    """A network, and what it costs where that is known."""

    name: str
    parameters: int | None = None
    multiply_adds: int | None = None


class Taught(Part):
    """The teacher of a student."""

    id: str
    network: str
    sha256: str
    top1: Number


class Shape(Part):
    """What is in a record, `null` where it is not known."""

    id: str
    kind: Literal["teacher", "student"]
    status: Literal["done", "diverged", "failed", "skipped"]
    reason: str | None
    name: str
    specification: Specification
    seed: int
    network: Network
    teacher: Taught | None
    weights: str | None
    metrics: dict[str, Numbers]
    curves: list[Epoch]
    environment: dict[str, str | int | bool | None]
    started: str | None
    finished: str | None
    seconds: Number


class Newer(Exception):
    """A record of a format that this version does not know."""


def document(record: Record) -> str:
    """A record as it is on disk: JSON, whose last line is the SHA-256 of the lines before."""
    return sealed(json.dumps({"format": FORMAT, **record}, indent=1, allow_nan=False))


def sealed(text: str) -> str:
    """The JSON of a record with its last line, the sum."""
    content = text.removesuffix("\n}").encode()
    return (content + SEAL + _seal(content)).decode()


def parsed(content: bytes, *, curves: bool = True) -> dict[str, Any]:
    """The record of a file's content, its curves empty unless asked for.

    Raises ValueError, which says what is wrong with it, and `Newer`.
    """
    end = content.rfind(SEAL)
    if end >= 0 and content[end + len(SEAL) :] != _seal(memoryview(content)[:end]):
        raise ValueError("its content is not that of its sha256")
    try:
        found = json.loads(content if curves else _without_curves(content))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(found, dict) or "format" not in found:
        raise ValueError("no record")
    if found["format"] != FORMAT:
        raise Newer(found["format"])
    if found.pop("sha256", None) and end < 0:
        raise ValueError("its sha256 is not where it was written")
    try:
        Shape.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"no record: {where}: {first['msg']}") from error
    return found


def _seal(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b'"\n}\n'


def _without_curves(content: bytes) -> bytes:
    """The content of a record without its curves, the only list of its outermost level."""
    begin, end = content.find(b'\n "curves": [\n'), content.rfind(b'\n ],\n "')
    if not 0 <= begin < end:
        return content
    return content[:begin] + b'\n "curves": [],' + content[end + len(b"\n ],") :]
