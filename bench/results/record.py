"""A run's record: JSON, one typed model, protected by a checksum."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from bench.spec import Role, RunSpec, SpecPart

FORMAT = 1
SEAL = b',\n "sha256": "'  # begins the last line; the oldest records have none
MAX_NUMBER = 3.5e38  # float32 holds no larger one
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
Numbers = dict[str, Number | None]
Status = Literal["done", "diverged", "failed", "skipped"]


class Epoch(SpecPart):
    """One epoch of the curves: times in seconds, memory in bytes, `test` where it was evaluated."""

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


class NetworkInfo(SpecPart):
    """A network's name, and its cost where that is known."""

    name: str
    parameters: int | None = None
    multiply_adds: int | None = None


class TeacherInfo(SpecPart):
    """The teacher of a student: its run, network, SHA-256 of its weights, top-1 in percent."""

    id: str
    network: str
    sha256: str
    top1: Number


class Record(SpecPart):
    """Everything known about a run; a field is None where its value is not known.

    Attributes:
        metrics: By source: `last` epoch, `oracle` (best epoch on the test set), `validation`.
        curves: One entry an epoch; empty in a summary.
        seconds: Seconds of training.
    """

    id: str
    kind: Role
    status: Status
    reason: str | None
    name: str
    specification: RunSpec
    seed: int
    network: NetworkInfo
    teacher: TeacherInfo | None
    weights: str | None
    metrics: dict[str, Numbers]
    curves: list[Epoch]
    environment: dict[str, str | int | bool | None]
    started: str | None
    finished: str | None
    seconds: Number

    @property
    def top1(self) -> float | None:
        """Top-1 accuracy on the test set after the last epoch, in percent."""
        return self.metrics.get("last", {}).get("top1")


class Newer(Exception):
    """A record of a format that this version does not know."""


def document(record: Record | Mapping[str, Any]) -> str:
    """A record as it is on disk: JSON, whose last line is the SHA-256 of the lines before."""
    content = record.content if isinstance(record, Record) else dict(record)
    return sealed(json.dumps({"format": FORMAT, **content}, indent=1, allow_nan=False))


def sealed(text: str) -> str:
    """The JSON of a record with its last line, the sum."""
    content = text.removesuffix("\n}").encode()
    return (content + SEAL + _seal(content)).decode()


def parsed(content: bytes, *, curves: bool = True) -> Record:
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
    if (version := found.pop("format")) != FORMAT:
        raise Newer(version)
    if found.pop("sha256", None) and end < 0:
        raise ValueError("its sha256 is not where it was written")
    try:
        return Record.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"no record: {where}: {first['msg']}") from error


def _seal(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b'"\n}\n'


def _without_curves(content: bytes) -> bytes:
    """The content of a record without its curves, the only list of its outermost level."""
    begin, end = content.find(b'\n "curves": [\n'), content.rfind(b'\n ],\n "')
    if not 0 <= begin < end:
        return content
    return content[:begin] + b'\n "curves": [],' + content[end + len(b"\n ],") :]
