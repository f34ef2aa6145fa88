"""Verdicts for programs, as plain data for JSON."""

from dataclasses import asdict
from typing import Any

from bench.regression.cells import Summary
from bench.regression.verdicts import Verdict, Verdicts

FORMAT = 1


def data(found: Verdicts, strict: bool = False) -> dict[str, Any]:
    """All that is known of the verdicts; the keys stay, numbers that do not exist are null."""
    return {
        "format": FORMAT,
        "kind": found.kind,
        "suite": found.suite or None,
        "against": found.against,
        "metric": found.metric.name,
        "unit": found.metric.step,
        "higher_is_better": found.metric.higher,
        "tolerance": found.tolerance,
        "outcome": found.outcome,
        "exit_code": found.exit_code(strict),
        "counts": dict(found.counts),
        "notes": list(found.notes),
        "cells": [_cell(cell) for cell in found.cells],
    }


def _cell(cell: Verdict) -> dict[str, Any]:
    return {
        "pair": cell.pair,
        "method": cell.method,
        "label": cell.label,
        "outcome": cell.outcome,
        "reason": cell.reason,
        "before": _summary(cell.before),
        "now": _summary(cell.now),
        "change": cell.change,
        "low": cell.low,
        "high": cell.high,
        "p": cell.p,
        "seeds_needed": cell.seeds,
        "altered": cell.altered,
        "notes": list(cell.notes),
    }


def _summary(found: Summary | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return asdict(found) | {"values": {str(seed): v for seed, v in found.values.items()}}
