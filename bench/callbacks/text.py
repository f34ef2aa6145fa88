"""Progress as plain lines, or as lines of JSON."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from bench.callbacks.progress import LOST, Progress, RunProgress, duration
from bench.config.text import as_json, printable
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.plan import Cohort

INTERVAL_S = 10.0  # between two lines about epochs


class Plain:
    """A line for each start, end and notice, and a line of progress every ten seconds."""

    def __init__(self, progress: Progress, out: TextIO) -> None:
        self._progress, self._out = progress, out
        self._last_line = progress.clock()

    def started(self, cohort: "Cohort", device: str) -> None:
        """Write which runs start on which device."""
        started = self._progress.start(cohort, device)
        methods = ", ".join(dict.fromkeys(run.method for run in started.runs))
        self._write(f"started   {started.label} on {device}{methods and f': {methods}'}")

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Write the epoch of the cohort, unless a line was written just now."""
        cohort = self._progress.advance(run, entry)
        if self._progress.clock() - self._last_line >= INTERVAL_S:
            self._write(f"epoch     {cohort.epoch} of {cohort.label}; {self._progress.summary}")

    def record(self, record: Record) -> None:
        """Write how the run ended."""
        self._write(outcome(self._progress.end(record), record.seconds))

    def notice(self, text: str) -> None:
        """Write the notice."""
        self._write(f"notice    {text}")

    def closed(self) -> None:
        """Write how many runs ended with which status."""
        self._write(next(summary(self._progress)))

    def _write(self, line: str) -> None:
        self._last_line = self._progress.clock()
        self._out.write(f"{printable(line)}\n")
        self._out.flush()


class Json:
    """Every event as a line of JSON."""

    def __init__(self, progress: Progress, out: TextIO) -> None:
        self._progress, self._out = progress, out

    def started(self, cohort: "Cohort", device: str) -> None:
        """Write `cohort`, `device`, and `runs`, each with `id` and `name`."""
        started = self._progress.start(cohort, device)
        runs = [{"id": run.run.id, "name": run.name} for run in started.runs]
        self._write("started", cohort=cohort.id, device=device, runs=runs)

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Write `id` and `name` of the run, and the `entry` of its curves."""
        self._progress.advance(run, entry)
        self._write("epoch", id=run, name=self._progress.runs[run].name, entry=entry)

    def record(self, record: Record) -> None:
        """Write `id`, `name`, `status`, `reason`, `metrics` and `seconds` of the record."""
        name = self._progress.end(record).name
        fields = record.model_dump(mode="json", include={"status", "reason", "metrics", "seconds"})
        self._write("record", id=record.id, name=name, **fields)

    def notice(self, text: str) -> None:
        """Write `text`."""
        self._write("notice", text=text)

    def closed(self) -> None:
        """Write the number of `runs` to do, their `counts` by status, and the `seconds` taken."""
        runs, seconds = len(self._progress.runs), round(self._progress.elapsed, 3)
        self._write("closed", runs=runs, counts=dict(self._progress.counts), seconds=seconds)

    def _write(self, event: str, **content: Any) -> None:
        self._out.write(as_json({"event": event, **content}, indent=None) + "\n")
        self._out.flush()


def summary(progress: Progress) -> Iterator[str]:
    """Yield a line with the number of runs by status, then a line for each reason."""
    name, counts = progress.plan.suite.name, progress.counts
    parts = [f"{counts[status]} {status}" for status in ("done", *LOST) if counts[status]]
    if unfinished := len(progress.runs) - counts.total():
        parts.append(f"{unfinished} not finished")
    if not parts:
        yield f"{name}: nothing to do, all {len(progress.plan.runs)} runs have a record"
        return
    yield f"{name}: {', '.join(parts)}, after {duration(progress.elapsed)}"
    reasons: dict[tuple[str, str], list[RunProgress]] = {}
    for run in progress.runs.values():
        if run.status in LOST:
            reasons.setdefault((run.status, run.reason or ""), []).append(run)
    for (status, reason), runs in reasons.items():
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        yield f"  {status:9} {runs[0].name}{more}: {reason}"


def outcome(run: RunProgress, seconds: float) -> str:
    """Return a line about how a run ended after so many seconds of training."""
    if run.status != "done":
        return f"{run.status:9} {run.name}: {run.reason}"
    top1 = f"top-1 {run.top1:.2f} %, " if run.top1 is not None else ""
    trained = duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"
    return f"done      {run.name}: {top1}{trained}"
