"""The record of a run: a typed model, stored as a JSON file with a checksum."""

import json
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from bench.results.files import sha256
from bench.spec import Role, RunSpec, SpecPart

FORMAT = 1
CHECKSUM_LINE = b',\n "sha256": "'  # start of the last line, which the oldest records lack
MAX_NUMBER = 3.5e38  # the largest float32, rounded up
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
Numbers = dict[str, Annotated[int, Field(ge=-(2**63), lt=2**63)] | Number | None]
Status = Literal["done", "diverged", "failed", "skipped"]


class Epoch(SpecPart):
    """One epoch of the curves: times in seconds, memory in bytes.

    `test` and `validation` are metrics; they are empty in epochs without evaluation.
    """

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
    """A network's name and its cost; unknown costs are None."""

    name: str
    parameters: int | None = None
    multiply_adds: int | None = None


class TeacherInfo(SpecPart):
    """A student's teacher: run id, network, SHA-256 of the weights, top-1 accuracy in percent.

    `members` is the number of networks of an ensemble; 1 for other teachers.
    """

    id: str
    network: str
    sha256: str
    top1: Number
    members: int = 1


class Record(SpecPart):
    """The settings and results of a run; unknown values are None.

    Attributes:
        metrics: Metrics by their source: `last` epoch, `oracle` (best epoch on the test set), or
            `validation`.
        curves: One entry per epoch; empty if the record was read without curves.
        data: Counts of the data set: `classes` and `test_images`; also `ignored_files` and
            `test_images_in_train`, each only if it is not 0.
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
    data: dict[str, int] = {}
    started: str | None
    finished: str | None
    seconds: Number

    @property
    def top1(self) -> float | None:
        """Top-1 accuracy on the test set after the last epoch, in percent."""
        return self.metrics.get("last", {}).get("top1")


class NewerFormat(Exception):
    """A later version of this program wrote the record, in a format that is unknown here."""


def document(record: Record) -> str:
    """Return the JSON file content of a record; the last line has the SHA-256 of the rest."""
    return sealed(json.dumps({"format": FORMAT, **record.content}, indent=1, allow_nan=False))


def sealed(text: str) -> str:
    """Return the JSON text of a record with the checksum added as the last line."""
    content = text.removesuffix("\n}").encode()
    return (content + CHECKSUM_LINE + _checksum(content)).decode()


def parse(content: bytes, *, curves: bool = True) -> Record:
    """Parse the content of a record's file.

    Args:
        content: The file's bytes.
        curves: Whether to parse the curves; if false, they are empty.

    Raises:
        ValueError: The content is not a valid record; the message has the reason.
        NewerFormat: A later version wrote the record.
    """
    end = content.rfind(CHECKSUM_LINE)
    if end >= 0 and content[end + len(CHECKSUM_LINE) :] != _checksum(memoryview(content)[:end]):
        raise ValueError("its content does not match its sha256")
    try:
        data = json.loads(content if curves else _without_curves(content))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(data, dict) or "format" not in data:
        raise ValueError("not a record")
    if (version := data.pop("format")) != FORMAT:
        raise NewerFormat(version)
    if data.pop("sha256", None) and end < 0:
        raise ValueError("its sha256 is not in the last line")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ValueError(f"not a record: {field}: {first['msg']}") from error


def _checksum(content: bytes | memoryview) -> bytes:
    return f'{sha256(content)}"\n}}\n'.encode()


def _without_curves(content: bytes) -> bytes:
    """Return the content of a record with empty curves; `curves` is the only top-level list."""
    begin, end = content.find(b'\n "curves": [\n'), content.rfind(b'\n ],\n "')
    if not 0 <= begin < end:
        return content
    return content[:begin] + b'\n "curves": [],' + content[end + len(b"\n ],") :]
