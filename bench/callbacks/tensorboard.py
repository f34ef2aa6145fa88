"""Log finished runs for TensorBoard: one folder of events for each run."""

import importlib.util
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.callbacks.tracking import metrics, params, run_name
from bench.errors import BenchError
from bench.results import Record, Results
from bench.spec import content_hash

if TYPE_CHECKING:
    from bench.planning.cohorts import Cohort
    from bench.planning.plan import Plan

MAX_NAME_CHARS = 100  # limit for a folder's name; file systems allow 255 bytes
FOLDER = "tensorboard"  # name of the folder in the results folder, for `tensorboard --logdir`


class TensorBoard:
    """An observer that writes each record's curves and metrics with torch's SummaryWriter.

    The folder of a run is `tensorboard/<suite>/<name> <id>-<hash of the record>`. If a run is
    repeated, its new folder replaces its old folder.

    Args:
        plan: The plan whose runs are logged.
        results: Folder of the records.

    Attributes:
        added: Number of folders written so far.
        warnings: Sentences about records that could not be logged.

    Raises:
        BenchError: tensorboard is not installed.
    """

    def __init__(self, plan: "Plan", results: Results) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise BenchError(
                "tensorboard is not installed. Install it "
                "(pip install 'distillbench[tensorboard]'), or use --tracker mlflow or none"
            )
        self.added = 0
        self.warnings: list[str] = []
        self._plan, self._results = plan, results
        self._folder = results.folder / FOLDER / plan.suite.name

    def started(self, cohort: "Cohort", device: str) -> None:
        """Do nothing."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Do nothing."""

    def record(self, record: Record) -> None:
        """Log a record, unless it already has a folder; keep the first error as a warning."""
        try:
            self.added += self._put(record)
        except Exception as error:
            problem = f"{self._folder}: {type(error).__name__}: {error}"
            if isinstance(error, OSError):
                problem = f"{error.filename or self._folder}: {error.strerror}"
            self.warnings = self.warnings or [
                f"TensorBoard: {problem}; the records are complete, and the next `bench run` logs "
                "the missing records"
            ]

    def notice(self, text: str) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """Do nothing."""

    def log_missing(self) -> None:
        """Log every record of the plan that has no folder."""
        for run in self._plan.runs:
            if (record := self._results.record(run)) is not None:
                self.record(record)

    def _put(self, record: Record) -> bool:
        """Write the record's folder if it is missing, and delete the run's older folders.

        Return whether the folder was written.
        """
        name = run_name(record, self._plan).replace("/", "_")[:MAX_NAME_CHARS]
        target = self._folder / f"{name} {record.id}-{content_hash(record.content)[:8]}"
        for old in self._folder.glob(f"* {record.id}-*"):
            if old != target:
                shutil.rmtree(old)
        if target.exists():
            return False
        partial = self._folder / f".{record.id}.part"
        shutil.rmtree(partial, ignore_errors=True)
        self._write(record, partial)
        partial.rename(target)
        return True

    def _write(self, record: Record, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorboard's code causes warnings
            from torch.utils.tensorboard import SummaryWriter

            with SummaryWriter(str(folder)) as writer:
                rows = "\n".join(f"| {k} | {v} |" for k, v in params(record, self._plan))
                table = f"| parameter | value |\n|---|---|\n{rows}"
                writer.add_text("specification", table)
                for key, value, epoch in metrics(record):
                    writer.add_scalar(key, value, epoch)
