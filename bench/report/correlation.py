"""Class correlations of trained networks, from their weights. Needs torch, and the data set."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench import data
from bench.data import Data, Selection
from bench.errors import BenchError, MissingData
from bench.plugins import BUILTIN, Registry
from bench.report.cells import Entry
from bench.report.diagrams import Matrix, class_correlation
from bench.report.figures import methods
from bench.results import Record, Results, verify
from bench.training import teacher as networks
from bench.training.evaluation import predict


def differences(
    entries: Sequence[Entry],
    results: Results,
    pair: str,
    root: Path | None = None,
    device: str | None = None,
    registry: Registry = BUILTIN,
) -> dict[str, list[Matrix]]:
    """Teacher's minus student's class correlations (K, K) over the test set, by label and seed.

    device: None for a GPU if there is one, else the CPU. Runs without weights are left out; a
    missing teacher is `MissingData`.
    """
    subject: Data | None = None
    taught: dict[str, Matrix] = {}
    found: dict[str, list[Matrix]] = {}
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    for label, some in methods(entries, pair).items():
        for record in _usable(some, results):
            subject = subject or _data(record, root, where, registry)
            of = record["teacher"]
            if of["id"] not in taught:
                taught[of["id"]] = _teacher(of, record, results, subject, registry)
            own = _correlation(record, results, subject, registry)
            found.setdefault(label, []).append(taught[of["id"]] - own)
    return found


def _usable(entries: Sequence[Entry], results: Results) -> Iterator[Any]:
    """The records, seed by seed, of runs that are done, had a teacher, and left their weights."""
    for one in sorted(entries, key=lambda entry: entry.seed):
        record = one.record or {}
        done = record.get("status") == "done" and record.get("teacher")
        if done and results.weights(record["id"]).is_file():
            yield record


def _data(record: Record, root: Path | None, device: torch.device, registry: Registry) -> Data:
    of = record["specification"]["data"]
    held = {name: value for name, value in of.items() if name not in ("fingerprint", "source")}
    return data.load(Selection(**held), root, device, added=registry.datasets)


def _teacher(
    of: Mapping[str, Any], record: Record, results: Results, subject: Data, registry: Registry
) -> Matrix:
    known = results.record(of["id"])
    if known is None or not results.weights(of["id"]).is_file():
        raise MissingData(f"{results.weights(of['id'])}: the teacher's weights are not there")
    if known.get("weights") != of["sha256"]:
        raise BenchError(f"{of['id']}: not the teacher that {record['id']} learned from")
    return _correlation(known, results, subject, registry)


def _correlation(record: Record, results: Results, subject: Data, registry: Registry) -> Matrix:
    """The class correlations (K, K) of a run's network over the test set."""
    path = results.weights(record["id"])
    verify(path, record["weights"])
    of = record["specification"]
    net = networks.load(of["network"], subject.facts, path, registry).to(
        subject.train_labels.device
    )
    logits, _ = predict(net, subject, "test", record.specification.recipe)
    try:
        return class_correlation(logits.cpu().numpy())
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error
