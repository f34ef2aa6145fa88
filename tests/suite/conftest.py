"""Suites written into a temporary folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
