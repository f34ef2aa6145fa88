"""Logs finished runs to MLflow.

No other file imports mlflow, and this file imports mlflow only on first use. The MLflow store, a
database or a server, only holds copies of records. The store can be deleted and filled again.
"""

import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.results import Record, Results, document, write_atomic
from bench.results.files import locked
from bench.spec import content_hash

if TYPE_CHECKING:
    from bench.planning.plan import Cohort, Plan

FINGERPRINT = "bench.results.record"  # tag with a record's hash, set after all else is logged
ARTIFACTS = "mlflow-artifacts:/"  # MLflow's server finds it even if the results folder moves
RUN_ID = "bench.run_id"  # tag with the id that bench gave the run
METRIC_NAMES = {"last": "final", "validation": "final_validation"}  # by name in a record
MAX_ENTRIES = {"metrics": 1000, "params": 100}  # limits of MLflow for one call
MAX_VALUE_CHARS, MAX_NAME_CHARS = 6000, 250  # limits of MLflow
MAX_FAILURES = 3  # logging then stops, because each call to a dead server takes seconds
LOCK_TIMEOUT_S = 120.0  # longest wait for other processes that write to the store
SETTINGS = {  # environment variables for mlflow, unless the user has set them
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MLflow:
    """An observer that logs each record as an MLflow run, in one experiment for each suite.

    Each record is logged once. If a run is repeated, its new record replaces its old record. An
    error of MLflow does not stop the suite: `warnings` reports the error, and `bench sync` logs the
    missing records later.

    Args:
        plan: The plan whose runs are logged.
        results: Folder of the records.
        uri: Tracking URI; None: `MLFLOW_TRACKING_URI`, or else a SQLite file in the
            results folder.

    Attributes:
        added: Number of records logged so far that were missing in the store.

    Raises:
        BenchError: mlflow is not installed.
    """

    def __init__(self, plan: "Plan", results: Results, uri: str | None = None) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise BenchError(
                "mlflow is not installed. Install it (pip install mlflow), or use --tracker none"
            )
        self.uri = uri or tracking_uri(results)
        self.added = 0
        self._plan, self._results = plan, results
        self._experiment: _Experiment | None = None
        self._failures: list[str] = []
        self._gave_up = False

    @property
    def warnings(self) -> list[str]:
        """A list with one sentence if logging failed; an empty list if it did not fail."""
        if not self._failures:
            return []
        warning = (
            f"MLflow at {self.uri} failed: {self._failures[0]}; the records are complete, and "
            f"`bench sync {self._plan.suite.name}` or the next run of the suite logs the missing ones"
        )
        return [re.sub(r"//[^/@\s]*@", "//", warning)]  # removes passwords

    def started(self, cohort: "Cohort", device: str) -> None:
        """Do nothing."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Open the store early, because that takes seconds, during which the workers train."""
        if self._experiment is None:
            self._attempt()

    def record(self, record: Record) -> None:
        """Log a record unless it is already in the store."""
        self._attempt(record)

    def notice(self, text: str) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """Do nothing."""

    def _attempt(self, record: Record | None = None) -> None:
        """Open the store, and log a record if one is given; turn exceptions into warnings."""
        if self._gave_up:
            return
        try:
            with _file_lock(self.uri):
                if self._experiment is None:
                    self._experiment = _Experiment(self.uri, self._plan, self._results)
                if record is not None:
                    self.added += self._experiment.put(record)
        except Exception as error:
            self._failures.append(f"{type(error).__name__}: {error}".splitlines()[0])
            self._gave_up = self._experiment is None or len(self._failures) >= MAX_FAILURES

    def log_missing(self) -> None:
        """Log every record of the plan that is missing or outdated in the store."""
        for run in self._plan.runs:
            if not self._gave_up and (record := self._results.record(run)) is not None:
                self.record(record)


class _Experiment:
    """A suite's experiment in an MLflow store; both are created if they do not exist."""

    def __init__(self, uri: str, plan: "Plan", results: Results) -> None:
        self._plan, name = plan, plan.suite.name
        self._artifacts = _artifacts(results) if uri == _local_uri(results) else None
        self._client = client(uri)
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = ARTIFACTS if self._artifacts else None
            self._id = self._client.create_experiment(name, artifact_location=location)
        else:
            self._id = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(self._id)
        self._logged: dict[str, dict[str, str | None]] = {}  # by run id, then by MLflow's id
        page = None
        while page is None or page.token:
            page = self._client.search_runs([self._id], page_token=page and page.token)
            for logged in page:
                entries = self._logged.setdefault(logged.data.tags.get(RUN_ID, ""), {})
                entries[logged.info.run_id] = logged.data.tags.get(FINGERPRINT)

    def put(self, record: Record) -> bool:
        """Make a record the only entry of its run; return whether the record was added."""
        entries = self._logged.setdefault(record.id, {})
        fingerprint = content_hash(record.content)
        current = next((id for id, tag in entries.items() if tag == fingerprint), None)
        keep = current or self._add(record, fingerprint)
        for old in [id for id in entries if id != keep]:
            self._client.delete_run(old)
            del entries[old]
        return current is None

    def _add(self, record: Record, fingerprint: str) -> str:
        """Log a record as a new MLflow run; return the id of the MLflow run.

        The fingerprint is set last. An interrupted call therefore leaves an MLflow run without
        fingerprint, which the next `put` of this record replaces.
        """
        from mlflow.entities import Metric, Param

        client, plan, (begin, end) = self._client, self._plan, _times(record)
        run = client.create_run(self._id, begin, _tags(record, plan), plan.names()[record.id])
        id: str = run.info.run_id
        self._logged[record.id][id] = None
        fields: dict[str, list[Any]] = {
            "params": [Param(*param) for param in _params(record, plan)],
            "metrics": [Metric(key, value, end, epoch) for key, value, epoch in _metrics(record)],
        }
        for kind, entries in fields.items():
            for start in range(0, len(entries), size := MAX_ENTRIES[kind]):
                client.log_batch(id, **{kind: entries[start : start + size]})
        if self._artifacts is None:
            client.log_text(id, document(record), "record.json")
        else:
            write_atomic(self._artifacts / id / "artifacts/record.json", document(record).encode())
        client.set_terminated(id, "FINISHED" if record.status == "done" else "FAILED", end)
        client.set_tag(id, FINGERPRINT, fingerprint)
        self._logged[record.id][id] = fingerprint
        return id


def tracking_uri(results: Results) -> str:
    """Return `MLFLOW_TRACKING_URI`, or else the URI of a SQLite file in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _local_uri(results)


def ui(results: Results, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve MLflow's web pages until interrupted.

    Args:
        results: Results folder whose store is shown.
        host: Address to listen on.
        port: Port to listen on.

    Returns:
        The exit code of MLflow's server.

    Raises:
        BenchError: The store does not exist, or it is a server, which has its own web pages.
    """
    uri = tracking_uri(results)
    if uri.startswith(("http:", "https:", "databricks")):
        raise BenchError(f"MLFLOW_TRACKING_URI names a server; open its own pages: {uri}")
    local = uri == _local_uri(results)
    if local and not (path := results.folder / "mlflow.db").exists():
        raise BenchError(
            f"{path}: no MLflow store; `bench run SUITE --results {results.folder}` creates it"
        )
    command = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str(_artifacts(results))]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    folder = sys.prefix if local else None  # the server imports any module in its working folder
    with suppress(KeyboardInterrupt):
        return subprocess.run(command, cwd=folder).returncode
    return 0


def client(uri: str) -> Any:
    """Return MLflow's client for a store; create the store if it does not exist.

    A SQLite store is created under a temporary name and then renamed. A process that is killed
    during the creation therefore leaves no partial store under the final name.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # in mlflow's code
        from mlflow import MlflowClient

        if (path := _sqlite_file(uri)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.stat().st_size == 0:
                for partial in path.parent.glob(f".{path.name}.*.part*"):
                    partial.unlink()
                # The name is always new, because mlflow caches connections by name.
                partial = path.with_name(f".{path.name}.{time.time_ns()}.part")
                try:
                    _check_writable(partial)
                    MlflowClient(f"sqlite:///{partial.as_posix()}")
                    os.replace(partial, path)
                finally:
                    partial.unlink(missing_ok=True)
            _check_writable(path)
        return MlflowClient(uri)


def _check_writable(path: Path) -> None:
    """Raise at once if a SQLite file cannot be written, because mlflow retries for minutes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN IMMEDIATE")


def _file_lock(uri: str) -> AbstractContextManager[int | None]:
    """Return a lock, which one process at a time holds to create or change a SQLite store."""
    path = _sqlite_file(uri)
    return locked(path.with_name(f".{path.name}.lock"), LOCK_TIMEOUT_S) if path else nullcontext()


def _sqlite_file(uri: str) -> Path | None:
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _local_uri(results: Results) -> str:
    return f"sqlite:///{(results.folder.resolve() / 'mlflow.db').as_posix()}"


def _artifacts(results: Results) -> Path:
    return results.folder.resolve() / "mlartifacts"


def _tags(record: Record, plan: "Plan") -> dict[str, str]:
    """Return the tags by which MLflow's users can filter runs; omit tags without a value."""
    values = {
        RUN_ID: record.id,
        "kind": record.kind,
        "status": record.status,
        "reason": record.reason,
        "teacher.sha256": record.teacher.sha256 if record.teacher else None,
        "commit": record.environment.get("commit"),
        "device": record.environment.get("device"),
    }
    if (cell := plan.first.get(record.id)) is not None:
        values |= {"pair": cell.pair.name, "method": cell.method.name}
    return {key: _short(value) for key, value in values.items() if value is not None}


def _params(record: Record, plan: "Plan") -> Iterator[tuple[str, str]]:
    """Yield name and value of each setting, such as `recipe.lr` or `method.crd.negatives`."""
    content = record.specification.content
    if record.specification.teacher is not None:
        network = plan.runs[record.specification.teacher].specification.network
        content["teacher"] = {"run": record.specification.teacher, "network": network}
    for term in content.get("method", {}).values():
        term |= term.pop("options", {})
    for path, value in _flat(content, "."):
        yield _key(path), _short(value)


def _metrics(record: Record) -> Iterator[tuple[str, float, int]]:
    """Yield name, value and epoch of each number, such as `loss`, `term/ce` or `final/top1`."""
    for epoch in record.curves:
        values = {"term" if key == "terms" else key: v for key, v in epoch.content.items()}
        yield from _numbers(values, values.pop("epoch"))
    final = {METRIC_NAMES.get(key, key): values for key, values in record.metrics.items()}
    cost = {key: value for key, value in record.network.content.items() if key != "name"}
    last = record.curves[-1].epoch if record.curves else 0
    yield from _numbers({**final, **cost, "total_seconds": record.seconds}, last)


def _times(record: Record) -> tuple[int, int]:
    """Return a run's begin and end in ms since 1970; raise ValueError for an invalid time."""
    begin, end = (
        int(datetime.fromisoformat(time or "").timestamp() * 1000)
        for time in (record.started or record.finished, record.finished)
    )
    return begin, end


def _numbers(values: Mapping[str, Any], epoch: int) -> Iterator[tuple[str, float, int]]:
    for name, value in _flat(values, "/"):
        if value is not None:
            yield _key(name), float(value), epoch


def _flat(content: Mapping[str, Any], separator: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each leaf of nested mappings."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}{separator}{path}", leaf) for path, leaf in _flat(value, separator))
        else:
            yield key, value


def _key(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:MAX_NAME_CHARS]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
