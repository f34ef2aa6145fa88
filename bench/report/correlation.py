"""Class correlations of trained networks, from their weights. Needs torch, and the data set."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import data
from bench.data import Data, Selection
from bench.errors import BenchError, MissingData
from bench.report.cells import Entry
from bench.report.diagrams import Matrix, class_correlation
from bench.results import Results, verify
from bench.training import teacher as networks
from bench.training.inference import predict


def differences(
    entries: Iterable[Entry],
    results: Results,
    pair: str,
    root: Path | None = None,
    device: str = "cpu",
) -> dict[str, list[Matrix]]:
    """Teacher's minus student's class correlations (K, K) over the test set, by label and seed.

    Runs without weights are left out; a missing teacher is `MissingData`.
    """
    subject: Data | None = None
    taught: dict[str, Matrix] = {}
    found: dict[str, list[Matrix]] = {}
    for entry in sorted(entries, key=lambda one: one.seed):
        record = entry.record
        if entry.pair != pair or entry.role == "teacher" or not _usable(record, results):
            continue
        assert record is not None
        subject = subject or _data(record, root, torch.device(device))
        of = record["teacher"]
        if of["id"] not in taught:
            taught[of["id"]] = _teacher(of, record, results, subject)
        own = class_correlation(_logits(record, results, subject))
        found.setdefault(entry.label or entry.method, []).append(taught[of["id"]] - own)
    return found


def _usable(record: Mapping[str, Any] | None, results: Results) -> bool:
    return bool(
        record
        and record.get("status") == "done"
        and record.get("teacher")
        and results.weights(str(record["id"])).is_file()
    )


def _data(record: Mapping[str, Any], root: Path | None, device: torch.device) -> Data:
    of = record["specification"]["data"]
    held = {name: value for name, value in of.items() if name not in ("fingerprint", "source")}
    return data.load(Selection(**held), root, device)


def _teacher(
    of: Mapping[str, Any], record: Mapping[str, Any], results: Results, subject: Data
) -> Matrix:
    known = results.record(of["id"])
    if known is None or not results.weights(of["id"]).is_file():
        raise MissingData(f"{results.weights(of['id'])}: the teacher's weights are not there")
    if known.get("weights") != of["sha256"]:
        raise BenchError(f"{of['id']}: not the teacher that {record['id']} learned from")
    return class_correlation(_logits(known, results, subject))


def _logits(
    record: Mapping[str, Any], results: Results, subject: Data
) -> NDArray[np.floating[Any]]:
    """The logits (n, K) of a run's network on the test set."""
    path = results.weights(record["id"])
    verify(path, record["weights"])
    of = record["specification"]
    net = networks.load(of["network"], subject.facts, path).to(subject.train_labels.device)
    logits, _ = predict(net, subject, "test", of["recipe"])
    return logits.cpu().numpy()
