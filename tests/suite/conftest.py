"""Suites written into a temporary folder, and plugins that are forgotten after each test."""

from collections.abc import Callable
from pathlib import Path

import pytest

import distillers
from bench import data, models, plugins
from bench.suite import Suite, read

BASE = """\
suite_version: 1
title: A test
dataset: cifar100
pairs:
  - {teacher: resnet56, student: resnet20}
methods: [student, kd]
"""

Write = Callable[..., Path]
Read = Callable[..., Suite]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a suite file: a whole text, or `BASE` with lines added."""

    def writer(text: str = BASE, added: str = "", name: str = "s.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text + added, encoding="utf-8")
        return path

    return writer


@pytest.fixture
def reading(write: Write) -> Read:
    """Write and read a suite."""

    def reader(added: str = "", *changes: str, text: str = BASE) -> Suite:
        return read(write(text, added), changes)

    return reader


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test registers is gone after it."""
    monkeypatch.setattr(distillers, "_added", dict(distillers._added))
    monkeypatch.setattr(models, "_added", dict(models._added))
    monkeypatch.setattr(data, "_sources", dict(data._sources))
    monkeypatch.setattr(plugins, "_loaded", dict(plugins._loaded))
    monkeypatch.setattr(plugins, "_sources", dict(plugins._sources))
    plugins._load_entries.cache_clear()
