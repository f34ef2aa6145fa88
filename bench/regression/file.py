"""A baseline as a JSON file: written whole, read with all of its mistakes at once."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import BenchError, Mistakes, unknown
from bench.regression.baseline import Baseline
from bench.regression.cells import Cell, Summary
from bench.report.cells import LARGEST, Hole
from bench.report.output import written

FORMAT = 1
MOST_BYTES = 64 * 1024 * 1024  # of a file
MOST_LEVELS = 40  # of nesting in it
_CLOSE = 1e-6  # relative, between what a file says and what its values amount to

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Seed = Annotated[str, Field(pattern=r"^(0|-?[1-9][0-9]{0,9})$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Summary(_Part):
    mean: Number
    std: Annotated[Number, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=1_000_000)]
    values: dict[Seed, Number] = {}

    @model_validator(mode="after")
    def _agree(self) -> "_Summary":
        """The mean, spread and number that are said are those of the values."""
        if (self.std is None) is not (self.n == 1):
            raise ValueError("std is null for n = 1, and only there")
        found = list(self.values.values())
        if found:
            said = (self.n, self.mean, self.std or 0.0)
            real = (len(found), fmean(found), stdev(found) if len(found) > 1 else 0.0)
            scale = max(1.0, *map(abs, real))
            if any(
                abs(one - other) > _CLOSE * scale for one, other in zip(said, real, strict=True)
            ):
                raise ValueError("n, mean and std are not those of the values")
        return self


class _Hole(_Part):
    status: str
    reason: str


class _Method(_Part):
    label: str = ""
    metrics: dict[str, _Summary] = {}
    hole: _Hole | None = None
    terms: dict[str, Any] = {}
    teachers: tuple[str, ...] = Field(default=(), strict=False)


class _Pair(_Part):
    setting: dict[str, Any] = {}
    methods: dict[str, _Method]


class _File(_Part):
    format: Literal[1]
    suite: str
    made: str | None = None
    environment: dict[str, str] = {}
    pairs: dict[str, _Pair]


def write(baseline: Baseline, path: Path) -> None:
    """Write a baseline as JSON that people can read and compare."""
    pairs: dict[str, dict[str, Any]] = {}
    for cell in baseline.cells:
        pair = pairs.setdefault(cell.pair, {"setting": {}, "methods": {}})
        pair["setting"] = pair["setting"] or cell.setting
        pair["methods"][cell.method] = _method(cell)
    content = {
        "format": FORMAT,
        "suite": baseline.suite,
        "made": baseline.made,
        "environment": baseline.environment,
        "pairs": pairs,
    }
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    written(path, (text + "\n").encode())


def _method(cell: Cell) -> dict[str, Any]:
    said: dict[str, Any] = {"label": cell.label}
    if cell.hole:
        said["hole"] = {"status": cell.hole.status, "reason": cell.hole.reason}
    if cell.metrics:
        said["metrics"] = {name: _summary(found) for name, found in cell.metrics.items()}
    return said | {"terms": cell.terms, "teachers": cell.teachers}


def _summary(found: Summary) -> dict[str, Any]:
    values = {str(seed): value for seed, value in found.values.items()}
    return {"mean": found.mean, "std": found.std, "n": found.n, "values": values}


def read(path: Path) -> Baseline:
    """The baseline of a file. Raises `Mistakes`, a line each; BenchError where there is no file."""
    content = _content(path)
    said = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if type(said) is not int or said != FORMAT:
        found = json.dumps(said)[:60]
        raise Mistakes([f"{path}  format: found {found}; this version reads format {FORMAT}"])
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise Mistakes(list(_lines(path, error))) from None
    return Baseline(file.suite, tuple(_cells(file)), file.environment, file.made)


def _content(path: Path) -> Any:
    """The plain data of a file that is neither too large nor too deep."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise Mistakes([f"{path}: larger than {MOST_BYTES >> 20} MiB, the most that is read"])
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: no baseline can be read there: {error}") from None
    try:
        content = json.loads(text)
        deep = _deeper(content, MOST_LEVELS)
    except RecursionError:
        deep = True
    except ValueError as error:
        raise Mistakes([f"{path}: not JSON: {error}"]) from None
    if deep:
        raise Mistakes([f"{path}: nested deeper than {MOST_LEVELS} levels, the most that is read"])
    return content


def _deeper(content: Any, most: int) -> bool:
    """Whether some data is nested deeper than so many levels."""
    if not isinstance(content, dict | list):
        return False
    inner = content.values() if isinstance(content, dict) else content
    return most == 0 or any(_deeper(one, most - 1) for one in inner)


def _cells(file: _File) -> Iterable[Cell]:
    for pair, under in file.pairs.items():
        for name, found in under.methods.items():
            metrics = {
                metric: Summary(
                    one.mean, one.std, one.n, {int(seed): v for seed, v in one.values.items()}
                )
                for metric, one in found.metrics.items()
            }
            hole = Hole(found.hole.status, found.hole.reason) if found.hole else None
            label = found.label or name
            yield Cell(pair, name, label, metrics, hole, under.setting, found.terms, found.teachers)


def _lines(path: Path, error: ValidationError) -> Iterable[str]:
    """`file  pairs.a/b.methods.kd.metrics.top1.n: what is wrong, what was found`, for each."""
    keys = {key for part in (_File, _Pair, _Method, _Hole, _Summary) for key in part.model_fields}
    for one in error.errors():
        where = ".".join(str(part) for part in one["loc"] if part != "[key]") or "the file"
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = unknown("key", str(one["loc"][-1]), keys)
        elif one["type"] == "missing":
            message = "missing"
        else:
            found = json.dumps(one["input"], ensure_ascii=False, default=str)
            message = f"{message[0].lower()}{message[1:]}; found {found[:60]}"
        yield f"{path}  {where}: {message}"
