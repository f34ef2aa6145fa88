"""A baseline as a JSON file: written whole, read with all of its mistakes at once."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.config import loader
from bench.errors import ConfigError, unknown
from bench.regression.baseline import Baseline
from bench.regression.cells import Cell, Summary
from bench.report.cells import LARGEST, Hole
from bench.report.output import written

FORMAT = 1
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
    """Return the baseline of a file. Raises `ConfigError`, a line for each problem."""
    content = loader.load_json(path)
    said = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if type(said) is not int or said != FORMAT:
        found = json.dumps(said)[:60]
        raise ConfigError([f"{path}  format: found {found}; this version reads format {FORMAT}"])
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise ConfigError(list(_lines(path, error))) from None
    return Baseline(file.suite, tuple(_cells(file)), file.environment, file.made)


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
