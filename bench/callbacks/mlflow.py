"""Log finished runs to MLflow; the only file that imports mlflow, and only when it is needed.

The store holds nothing that the records do not hold: it can be deleted and filled again.
"""

import importlib.util
import os
import re
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.callbacks import mlflow_fields
from bench.errors import BenchError
from bench.results import Record, Results, document, write_atomic
from bench.results.files import locked
from bench.spec import content_hash

if TYPE_CHECKING:
    from bench.planning.plan import Cohort, Plan

FINGERPRINT = "bench.results.record"  # tag with a record's hash, set when all of it is logged
ARTIFACTS = "mlflow-artifacts:/"  # resolved by MLflow's server: a moved results folder still opens
MAX_METRICS, MAX_PARAMS = 1000, 100  # of one call
MAX_FAILURES = 3  # after which nothing more is logged: each call to a dead server takes seconds
LOCK_TIMEOUT_S = 120.0  # for other processes that write to the same file
SETTINGS = {  # of mlflow, unless the environment sets them
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MLflow:
    """An observer that logs each record: an experiment for a suite, an MLflow run for a run.

    A record is logged once; a run that was done again replaces its old entry. An error of MLflow
    costs neither a run nor a result: `warnings` names it, and `bench sync` logs what is missing.

    Args:
        plan: The plan whose runs are logged.
        results: Folder of the records.
        uri: Tracking URI; None: `MLFLOW_TRACKING_URI`, else a store in the results folder.

    Attributes:
        added: Number of records that the store did not have.

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
        """A sentence about records that could not be logged; empty if all were."""
        if not self._failures:
            return []
        warning = (
            f"MLflow at {self.uri} failed: {self._failures[0]}; the records are complete, and "
            f"`bench sync {self._plan.suite.name}` or the next run of the suite logs the rest"
        )
        return [re.sub(r"//[^/@\s]*@", "//", warning)]  # no passwords

    def started(self, cohort: "Cohort", device: str) -> None:
        """Do nothing."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Open the store: that takes seconds, in which the workers train."""
        if self._experiment is None:
            self._attempt(self._open)

    def record(self, record: Record) -> None:
        """Log a record, unless the store has it."""
        self._attempt(lambda: self._log(record))

    def notice(self, text: str) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """Do nothing."""

    def _attempt(self, action: Callable[[], object]) -> None:
        """Use the store; an exception costs only a warning."""
        if self._gave_up:
            return
        try:
            with _file_lock(self.uri):
                action()
        except Exception as error:
            self._failures.append(f"{type(error).__name__}: {error}".splitlines()[0])
            self._gave_up = self._experiment is None or len(self._failures) >= MAX_FAILURES

    def _open(self) -> "_Experiment":
        if self._experiment is None:
            self._experiment = _Experiment(self.uri, self._plan, self._results)
        return self._experiment

    def _log(self, record: Record) -> None:
        self.added += self._open().put(record)

    def log_missing(self) -> None:
        """Log every record of the plan that the store does not have, or has in an older state."""
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
        self._logged: dict[str, dict[str, str | None]] = {}  # run id: MLflow's id: fingerprint
        for logged in self._runs():
            entries = self._logged.setdefault(logged.data.tags.get(mlflow_fields.RUN_ID, ""), {})
            entries[logged.info.run_id] = logged.data.tags.get(FINGERPRINT)

    def put(self, record: Record) -> bool:
        """Make this the only entry of its run; return whether it had to be added."""
        entries = self._logged.setdefault(record.id, {})
        fingerprint = content_hash(record.content)
        current = next((id for id, tag in entries.items() if tag == fingerprint), None)
        keep = current or self._add(record, fingerprint)
        for old in [id for id in entries if id != keep]:
            self._client.delete_run(old)
            del entries[old]
        return current is None

    def _add(self, record: Record, fingerprint: str) -> str:
        """Log a record; its fingerprint is set last, so that a partial entry is replaced."""
        from mlflow.entities import Metric, Param

        client, plan, (begin, end) = self._client, self._plan, mlflow_fields.times(record)
        tags, name = mlflow_fields.tags(record, plan), plan.names()[record.id]
        id: str = client.create_run(self._id, begin, tags, name).info.run_id
        self._logged[record.id][id] = None
        params = [Param(*param) for param in mlflow_fields.params(record, plan).items()]
        for batch in _chunks(params, MAX_PARAMS):
            client.log_batch(id, params=batch)
        numbers = mlflow_fields.metrics(record)
        metrics = [Metric(key, value, end, epoch) for key, value, epoch in numbers]
        for batch in _chunks(metrics, MAX_METRICS):
            client.log_batch(id, metrics=batch)
        if self._artifacts is None:
            client.log_text(id, document(record), "record.json")
        else:
            write_atomic(self._artifacts / id / "artifacts/record.json", document(record).encode())
        client.set_terminated(id, "FINISHED" if record.status == "done" else "FAILED", end)
        client.set_tag(id, FINGERPRINT, fingerprint)
        self._logged[record.id][id] = fingerprint
        return id

    def _runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._id], page_token=token)
            yield from page
            if not (token := page.token):
                return


def tracking_uri(results: Results) -> str:
    """Return `MLFLOW_TRACKING_URI`, or else the URI of a store in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _local_uri(results)


def ui(results: Results, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve MLflow's web pages until interrupted.

    Args:
        results: Folder whose store is shown.
        host: Address to listen on.
        port: Port to listen on.

    Returns:
        The exit code of MLflow's server.

    Raises:
        BenchError: The store does not exist, or is a server with pages of its own.
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
    folder = sys.prefix if local else None  # the server imports modules from its working folder
    with suppress(KeyboardInterrupt):
        return subprocess.run(command, cwd=folder).returncode
    return 0


def client(uri: str) -> Any:
    """Return MLflow's client of a store, which is created if it does not exist.

    A SQLite store is created under a temporary name and then renamed: a process that is killed
    meanwhile leaves no store that MLflow could not open.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of mlflow's own code
        from mlflow import MlflowClient

        if (path := _sqlite_file(uri)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.stat().st_size == 0:
                for partial in path.parent.glob(f".{path.name}.*.part*"):
                    partial.unlink()
                # a new name each time: mlflow caches connections by name
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
    """Raise at once if a SQLite file cannot be written: mlflow retries for minutes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN IMMEDIATE")


@contextmanager
def _file_lock(uri: str) -> Iterator[None]:
    """Hold a SQLite store: one process at a time creates it or writes to it."""
    if (path := _sqlite_file(uri)) is None:
        yield
    else:
        with locked(path.with_name(f".{path.name}.lock"), LOCK_TIMEOUT_S):
            yield


def _sqlite_file(uri: str) -> Path | None:
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _local_uri(results: Results) -> str:
    return f"sqlite:///{(results.folder.resolve() / 'mlflow.db').as_posix()}"


def _artifacts(results: Results) -> Path:
    return results.folder.resolve() / "mlartifacts"


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
