"""Make a baseline from runs; read and validate the JSON of a baseline."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from statistics import fmean, stdev

from pydantic import ValidationError

from bench.config.loader import load_json
from bench.config.text import found
from bench.errors import ConfigError, unknown
from bench.report.model import Cell, Entry, Measured, Report, Row, Table, cells
from bench.report.writers.data import SCHEMA

_CLOSE = 1e-6  # largest accepted relative error of a stored mean or standard deviation


def baseline(entries: Iterable[Entry], suite: str, metric: str = "top1") -> Report:
    """Return a report with only the suite's cells, one per row.

    A cell is one method on one teacher-student pair. The JSON of the suite's normal report has the
    same cells and can serve as a baseline, too.

    Args:
        entries: The runs of the suite.
        suite: Name of the suite.
        metric: The metric whose missing values give the reason of a cell without a result.
    """
    runs = list(entries)
    return Report.of(
        suite, [Table(tuple(Row((cell,)) for cell in cells(runs, metric).values()))], runs
    )


def read(path: Path) -> Report:
    """Read a baseline from a JSON file.

    Args:
        path: A file that `bench baseline` or `bench report --format json` wrote.

    Raises:
        ConfigError: The file is unreadable or invalid; the message has a line for each mistake.
    """
    content = load_json(path)
    number = content.get("format", Report.format) if isinstance(content, dict) else Report.format
    if type(number) is not int or number != Report.format:
        hint = f"Allowed: {Report.format}; record the baseline again with `bench baseline`"
        raise ConfigError([f"{path}  format: found {json.dumps(number)[:60]}. {hint}"])
    try:
        report = SCHEMA.validate_json(json.dumps(content))
    except ValidationError as error:
        raise ConfigError([f"{path}  {line}" for line in _mistakes(error)]) from None
    if lines := [f"{path}  {line}" for cell in report.cells for line in _contradictions(cell)]:
        raise ConfigError(lines)
    return report


def _mistakes(error: ValidationError) -> Iterator[str]:
    """Yield `tables.0.rows.1.label: what was found, what is allowed` for each mistake."""
    keys = {key.name for part in (Report, Table, Row, Cell, Measured) for key in fields(part)}
    for each in error.errors():
        place = ".".join(str(part) for part in each["loc"] if part != "[key]") or "the file"
        message = each["msg"]
        if each["type"] == "unexpected_keyword_argument":
            message = unknown("key", str(each["loc"][-1]), keys)
        elif each["type"] == "missing":
            message = "missing"
        else:
            message = f"{found(each['input'])}. {message}"
        yield f"{place}: {message}"


def _contradictions(cell: Cell) -> Iterator[str]:
    """Yield a message for each metric whose n, mean or std contradicts its values."""
    for name, measured in cell.metrics.items():
        place = f"{cell.name} {name}"
        if (measured.std is None) is not (measured.n == 1):
            yield (
                f"{place}: found std {measured.std} for n = {measured.n}. "
                "Allowed: null if n = 1, a number if n > 1"
            )
        values = list(measured.values.values())
        if values:
            stated = (measured.n, measured.mean, measured.std or 0.0)
            real = (len(values), fmean(values), stdev(values) if len(values) > 1 else 0.0)
            scale = max(1.0, *map(abs, real))
            if any(abs(a - b) > _CLOSE * scale for a, b in zip(stated, real, strict=True)):
                yield f"{place}: n, mean or std differs from the n, mean or std of `values`"
