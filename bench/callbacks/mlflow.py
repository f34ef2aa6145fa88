"""Logs finished runs to MLflow.

No other file imports mlflow, and this file imports mlflow only on first use. The MLflow store, a
database or a server, only holds copies of records. The store can be deleted and filled again.
"""

import errno
import importlib.util
import logging
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.callbacks.mlflow_store import create_store
from bench.callbacks.tracking import metrics, params, run_name, short
from bench.data.fingerprint import cache_folder
from bench.errors import BenchError
from bench.results import Record, Results, document, quarantine, write_atomic
from bench.results.files import locked
from bench.spec import content_hash

if TYPE_CHECKING:
    from bench.planning.cohorts import Cohort
    from bench.planning.plan import Plan

FINGERPRINT = "bench.results.record"  # tag with the hash of a record; it is set last
ARTIFACTS = "mlflow-artifacts:/"  # this address stays valid if the results folder moves
RUN_ID = "bench.run_id"  # tag with the id that bench gave the run
MAX_ENTRIES = {"metrics": 1000, "params": 100}  # limits of MLflow for one call
MAX_FAILURES = 3  # errors until logging stops, as each call to a dead server takes seconds
STOP_TIMEOUT_S = 5.0  # time for the processes of MLflow's server to end before they are killed
LOCK_TIMEOUT_S = 120.0  # longest wait for other processes that write to the store
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # hides MLflow's LLM pages
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
        uri: Tracking URI; None: the value of `MLFLOW_TRACKING_URI`, or a SQLite file in the results
            folder if this variable is not set.

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
        """A list with one sentence if logging failed; otherwise an empty list."""
        if not self._failures:
            return []
        warning = (
            f"MLflow at {self.uri} failed: {self._failures[0]}; the records are complete, and "
            f"`{self._sync}` or the next `bench run` logs the missing records"
        )
        return [re.sub(r"//[^/@\s]*@", "//", warning)]  # removes passwords

    @property
    def _sync(self) -> str:
        """The command that logs the missing records, quoted for a shell."""
        suite = self._plan.suite
        command = ["bench", "sync", str(suite.path), "--results", str(self._results.folder)]
        for change in suite.changes:
            command += ["--set", change]
        return shlex.join(command)

    def started(self, cohort: "Cohort", device: str) -> None:
        """Do nothing."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Open the store at the first epoch: opening takes seconds, and the workers train on."""
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
        """Open the store if it is not open, and log the record; turn exceptions into warnings."""
        if self._gave_up:
            return
        try:
            with _file_lock(self.uri), _logging_to(self._results.folder / "logs/mlflow.log"):
                if self._experiment is None:
                    self._experiment = _Experiment(self.uri, self._plan, self._results)
                if record is not None:
                    self.added += self._experiment.put(record)
        except Exception as error:
            self._failures.append(_reason(error, self.uri))
            self._gave_up = self._experiment is None or len(self._failures) >= MAX_FAILURES

    def log_missing(self) -> None:
        """Log every record of the plan that is missing or outdated in the store.

        Do nothing if neither the store nor a record has changed since the last call that logged
        all records: importing mlflow takes longer than all other work for a finished suite.
        """
        note = self._results.folder / "logs/mlflow.logged"
        if note.exists() and note.read_text() == self._fingerprint():
            return
        for run in self._plan.runs:
            if not self._gave_up and (record := self._results.record(run)) is not None:
                self.record(record)
        if self._experiment is not None and not self._failures:
            with suppress(OSError):
                write_atomic(note, self._fingerprint().encode(), fsync=False)

    def _fingerprint(self) -> str:
        """Return a hash of the sizes and times of the store and of the plan's records.

        For a server, whose content can change unseen, the hash never repeats.
        """
        store = _sqlite_file(self.uri)
        if store is None:
            return str(time.time_ns())
        states = []
        for path in (store, *map(self._results.file, self._plan.runs)):
            with suppress(FileNotFoundError):
                state = path.stat()
                identity = state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
                states.append((str(path), *identity))
        return content_hash(states)


class _Experiment:
    """A suite's experiment in an MLflow store; both are created if they do not exist."""

    def __init__(self, uri: str, plan: "Plan", results: Results) -> None:
        self._plan, name = plan, plan.suite.name
        self._artifacts = _artifacts(results) if uri == _local_uri(results) else None
        self._client = client(uri)
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = ARTIFACTS if self._artifacts else None
            self._id = self._client.create_experiment(
                name, artifact_location=location, tags=EXPERIMENT_TAGS
            )
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
        """Log a record unless it is logged, and delete older entries of its run.

        Return whether the record was added.
        """
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

        The tag `FINGERPRINT` is set last. An interrupted call therefore leaves an MLflow run
        without this tag, and the next `put` of this record replaces that run.
        """
        from mlflow.entities import Metric, Param

        client, plan, (begin, end) = self._client, self._plan, _times(record)
        run = client.create_run(self._id, begin, _tags(record, plan), run_name(record, plan))
        id: str = run.info.run_id
        self._logged[record.id][id] = None
        fields: dict[str, list[Any]] = {
            "params": [Param(*param) for param in params(record, plan)],
            "metrics": [Metric(key, value, end, epoch) for key, value, epoch in metrics(record)],
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
    """Return `MLFLOW_TRACKING_URI`; if not set, the URI of a SQLite file in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or _local_uri(results)


def ui(results: Results, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve MLflow's web pages until a signal, such as Ctrl-C, ends the server.

    Args:
        results: Results folder whose store is shown.
        host: Address to listen on.
        port: Port to listen on.

    Returns:
        The exit code of MLflow's server.

    Raises:
        BenchError: The store does not exist, or the store is a server, which has its own web pages.
    """
    uri = tracking_uri(results)
    if uri.startswith(("http:", "https:", "databricks")):
        raise BenchError(f"MLFLOW_TRACKING_URI names a server; open its own pages: {uri}")
    local = uri == _local_uri(results)
    if local and not (path := results.folder / "mlflow.db").exists():
        raise BenchError(
            f"{path}: no MLflow store; `bench run SUITE --results "
            f"{shlex.quote(str(results.folder))}` creates it"
        )
    command = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str(_artifacts(results))]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # The server could import a user's file from its working folder, so another folder is used.
    folder = sys.prefix if local else None
    return _serve(command, folder)


def _serve(command: Sequence[str], folder: str | None) -> int:
    """Run a server until it ends or a signal stops it; then end all of its processes."""

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    server = subprocess.Popen(command, cwd=folder, start_new_session=True)
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, timeout_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError):
                os.killpg(server.pid, number)
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout_s)


def client(uri: str) -> Any:
    """Return MLflow's client for a store; create the store if it does not exist.

    A SQLite store is created under a temporary name and then renamed. A process that is killed
    during the creation therefore leaves no partial store under the final name.
    """
    client_class = _client_class()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # mlflow's code causes it
        if (path := _sqlite_file(uri)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                _quarantine_damaged(path)
            if not path.exists() or path.stat().st_size == 0:
                for partial in path.parent.glob(f".{path.name}.*.part*"):
                    partial.unlink()
                # The name is always new, because mlflow caches connections by name.
                partial = path.with_name(f".{path.name}.{time.time_ns()}.part")
                try:
                    _check_writable(partial)
                    create_store(partial, client_class)
                    os.replace(partial, path)
                finally:
                    partial.unlink(missing_ok=True)
            _check_writable(path)
        return client_class(uri)


def _client_class() -> Any:
    """Import mlflow with our settings; return its class of clients."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # mlflow's code causes it
        from mlflow import MlflowClient
    return MlflowClient


def _quarantine_damaged(path: Path) -> None:
    """Rename the file if it is not a valid SQLite database, so that a new store is created."""
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:  # the database is locked, or cannot be opened
        return
    except sqlite3.DatabaseError:
        quarantine(path)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Write the messages of MLflow and its libraries to a file instead of the screen."""
    _client_class()  # imported here, as the import replaces the handlers
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "sqlalchemy")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handler: logging.Handler = logging.FileHandler(path, delay=True)
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        yield
    finally:
        handler.close()
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


def _reason(error: BaseException, uri: str) -> str:
    """Return an error's type and first line; for a full disk, name the file or address."""
    cause: BaseException | None = error
    while cause is not None:
        is_full = isinstance(cause, OSError) and cause.errno == errno.ENOSPC
        if is_full or (isinstance(cause, sqlite3.Error) and "is full" in str(cause)):
            return f"{_sqlite_file(uri) or uri}: no space left on device"
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _check_writable(path: Path) -> None:
    """Raise an error at once if a SQLite file cannot be written; mlflow would retry for minutes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN IMMEDIATE")


def _file_lock(uri: str) -> AbstractContextManager[int | None]:
    """Return a lock for a SQLite store; one process at a time creates or changes the store."""
    path = _sqlite_file(uri)
    return locked(path.with_name(f".{path.name}.lock"), LOCK_TIMEOUT_S) if path else nullcontext()


def _sqlite_file(uri: str) -> Path | None:
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _local_uri(results: Results) -> str:
    folder = results.folder.resolve()
    if set(str(folder)) & set("?#%"):  # would end the URI's path; MLflow decodes no escapes
        folder = _link_to(folder)
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


def _link_to(folder: Path) -> Path:
    """Return a symbolic link to a folder; the link's path is valid in a URI."""
    link = cache_folder() / "links" / content_hash(str(folder))
    if link.is_symlink() and link.resolve() == folder:
        return link
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(folder)
    return link


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
    return {key: short(value) for key, value in values.items() if value is not None}


def _times(record: Record) -> tuple[int, int]:
    """Return the begin and the end of a run in milliseconds since 1970.

    The end is the recorded end. The begin is computed from the seconds that the run trained,
    because runs that train together have the same recorded begin. Raises ValueError if the recorded
    end is not a time.
    """
    end = int(datetime.fromisoformat(record.finished or "").timestamp() * 1000)
    return end - int(record.seconds * 1000), end
