"""MLflow's view of the records; the only file that imports mlflow, and only once it is needed.

What the store holds is a function of the records: it can be thrown away and filled again.
"""

import importlib.util
import os
import queue
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.callbacks import sqlite
from bench.callbacks.account import ID, Account, account
from bench.errors import BenchError
from bench.results import Record, Results

if TYPE_CHECKING:
    from bench.planning.plan import Cohort, Plan

FINGERPRINT = "bench.results.record"  # the tag that a run gets when all of its record is logged
MOST_NUMBERS, MOST_PARAMS = 1000, 100  # of one call
MOST_FAILURES = 3  # then the store is left alone: a dead server takes its time for every call
QUIET = {  # unless the user's environment says otherwise
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


class MLflow:
    """An observer that logs every record: an experiment per suite, an MLflow run per run.

    A thread does it, so that nothing waits for a slow server. A record is logged once; that of a
    run done again replaces the old one. Whatever goes wrong costs neither results nor the run of
    the suite: `warnings` says it afterwards, in a sentence.
    `uri` is any tracking URI; without it MLFLOW_TRACKING_URI, or else a file in the results folder.
    """

    def __init__(self, plan: "Plan", results: Results, uri: str | None = None) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise BenchError(
                "no package mlflow, which logs the runs: pip install mlflow, or use --tracker none"
            )
        self.uri = uri or tracking_uri(results)
        self.added = 0  # records that the store did not have
        self._plan, self._results = plan, results
        self._experiment: _Experiment | None = None
        self._failures: list[str] = []
        self._given_up = self._late = False
        self._queue: queue.Queue[Record | threading.Event] = queue.Queue()
        self._thread: threading.Thread | None = None

    @property
    def warnings(self) -> list[str]:
        """What could not be logged, as one sentence; empty if all was."""
        if not self._failures and not self._late:
            return []
        what = f"failed: {self._failures[0]}" if self._failures else "is slow"
        sentence = (
            f"MLflow at {self.uri} {what}; the records are complete, and `bench sync "
            f"{self._plan.suite.name}` or the next run of the suite logs what is missing"
        )
        return [re.sub(r"//[^/@\s]*@", "//", sentence)]  # no passwords

    def started(self, cohort: "Cohort", device: str) -> None:
        """Nothing: what is logged comes from records."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Nothing: what is logged comes from records."""

    def notice(self, text: str) -> None:
        """Nothing: what is logged comes from records."""

    def record(self, record: Record) -> None:
        """Have a record logged, unless the store has it; returns at once."""
        self._put(record)

    def closed(self) -> None:
        """Nothing: `log_missing` waits for what is not logged yet."""

    def log_missing(self, patience: float | None = None) -> None:
        """Log every record of the plan that the store does not have, or has in an older state.

        Waits until that is done, at most `patience` seconds.
        """
        for run in self._plan.runs:
            if (record := self._results.record(run)) is not None:
                self._put(record)
        if self._thread is not None:
            through = threading.Event()
            self._put(through)
            self._late = not through.wait(patience)

    def _put(self, item: Record | threading.Event) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._queue.put(item)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
            elif not self._given_up:
                self._log(item)

    def _log(self, record: Record) -> None:
        try:
            with sqlite.turn(self.uri):
                if self._experiment is None:  # opening a store takes seconds
                    self._experiment = _Experiment(self.uri, self._plan.suite.name, self._results)
                self.added += self._experiment.put(account(record, self._plan))
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            self._failures.append(said.splitlines()[0])
            self._given_up = self._experiment is None or len(self._failures) >= MOST_FAILURES


class _Experiment:
    """A suite's experiment in an MLflow store; both are made if they are not there."""

    def __init__(self, uri: str, name: str, results: Results) -> None:
        place = _artifacts(results).as_uri() if uri == _local(results) else None
        if place is not None:
            sqlite.settle(uri, name, place)
        self._client = client(uri)
        found = self._client.get_experiment_by_name(name)
        if found is None:
            self._id = self._client.create_experiment(name, artifact_location=place)
        else:
            self._id = found.experiment_id
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(self._id)
        self._held: dict[str, dict[str, str | None]] = {}  # of a run: MLflow's id, fingerprint
        for run in self._runs():
            held = self._held.setdefault(run.data.tags.get(ID, ""), {})
            held[run.info.run_id] = run.data.tags.get(FINGERPRINT)

    def put(self, account: Account) -> bool:
        """See to it that the store holds this record of its run, whole, and no other.

        Whether it had to be added.
        """
        held = self._held.setdefault(account.record["id"], {})
        same = next((run for run, found in held.items() if found == account.fingerprint), None)
        kept = same or self._add(account, held)
        for old in [run for run in held if run != kept]:
            self._client.delete_run(old)
            del held[old]
        return same is None

    def _add(self, account: Account, held: dict[str, str | None]) -> str:
        """A new MLflow run; it bears the record's fingerprint once all is there."""
        from mlflow.entities import Metric, Param

        client, (begin, end) = self._client, account.times
        run: str = client.create_run(self._id, begin, dict(account.tags), account.name).info.run_id
        held[run] = None
        for part in _parts([Param(*pair) for pair in account.params.items()], MOST_PARAMS):
            client.log_batch(run, params=part)
        numbers = [Metric(key, value, end, epoch) for key, value, epoch in account.numbers]
        for batch in _parts(numbers, MOST_NUMBERS):
            client.log_batch(run, metrics=batch)
        client.log_text(run, account.document, "record.json")
        status = "FINISHED" if account.record["status"] == "done" else "FAILED"
        client.set_terminated(run, status, end)
        client.set_tag(run, FINGERPRINT, account.fingerprint)
        held[run] = account.fingerprint
        return run

    def _runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._id], page_token=token)
            yield from page
            if not (token := page.token):
                return


def tracking_uri(results: Results) -> str:
    """The tracking URI in use: MLFLOW_TRACKING_URI, or else a store inside the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _local(results)


def ui(results: Results, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve MLflow's own pages of the store until interrupted; its exit code."""
    uri = tracking_uri(results)
    if uri.startswith(("http:", "https:", "databricks")):
        raise BenchError(f"MLFLOW_TRACKING_URI names a server, which has pages of its own: {uri}")
    if uri == _local(results) and not (path := results.folder / "mlflow.db").exists():
        raise BenchError(
            f"{path}: no MLflow store there; `bench run SUITE --results {results.folder}` makes one"
        )
    command = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str(_artifacts(results))]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    place = sys.prefix if uri == _local(results) else None  # its server imports from where it is
    with suppress(KeyboardInterrupt):
        return subprocess.run(command, cwd=place).returncode
    return 0


def client(uri: str) -> Any:
    """MLflow's client of a store, which is made if it is not there, without a word about it."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what mlflow's code does is its own
        from mlflow import MlflowClient

        with sqlite.fresh(uri) as beside:
            sqlite.try_to_write(beside or uri)
            if beside is not None:
                MlflowClient(beside)
        return MlflowClient(uri)


def _local(results: Results) -> str:
    return f"sqlite:///{(results.folder.resolve() / 'mlflow.db').as_posix()}"


def _artifacts(results: Results) -> Path:
    return results.folder.resolve() / "mlartifacts"


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
