"""A folder of results: one JSON record a run, its weights, and the state of unfinished runs.

runs/<id>.json             what is known of a run; written once, whole or not at all
weights/<id>.safetensors   the network at the end of the run
state/<id>.safetensors     the checkpoint of an unfinished run, then its SHA-256
<suite>.md, .tex, .csv     tables, made from the records
<suite>-*.png, .pdf        figures, of the verb `figures`
logs/<cohort>.log          what a worker wrote beside its results
mlflow.db, mlartifacts/    MLflow's view of the same records
slurm/                     what Slurm's jobs said, with --executor slurm
.slurm                     the name of Slurm's jobs that may be at work here
.lock                      who works here, while somebody does
*.corrupt                  what was no longer as it had been written, set aside

Records and states end in the SHA-256 of what stands before it; a record names that of its weights.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bench.errors import BenchError, TeacherRefused
from bench.results.files import Held, locked, sha256, write_whole
from bench.results.record import FORMAT, Newer, Record, document, parsed

PARTS = ("runs", "state", "weights", "logs", "slurm", "mlflow.db", "mlartifacts")
DIGEST = hashlib.sha256().digest_size  # bytes at the end of a state


class Corrupt(BenchError):
    """A file is not as it was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: damaged: {why}; `bench run` sets it aside and does the run again"
        )
        self.path, self.why = path, why


class Unwritable(BenchError):
    """A file could not be written: no room, no right, a broken disk."""


class Results:
    """The files of one results folder; nothing is created before the first write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the folder, in which one command at a time may work; yields the lock's descriptor.

        Raises `Held`, which says by whom, and `Unwritable`. What a command that was killed left
        half written is removed. A part that is a link is refused: it would lead the files that
        are written and removed out of the folder.
        """
        with ExitStack() as stack:
            if links := [part for part in PARTS if (self.folder / part).is_symlink()]:
                raise Unwritable(f"{self.folder / links[0]}: a link; results lie in one folder")
            try:
                held = stack.enter_context(locked(self.folder / ".lock"))
                write_whole(self.folder / "runs" / ".writable", bytes(4096))
                (self.folder / "runs" / ".writable").unlink()
            except Held as error:
                raise Held(
                    error.holder,
                    f"{self.folder}: {error.holder} is at work there; wait until it has ended, or "
                    "take another folder. The verbs that only read can be used meanwhile",
                ) from None
            except OSError as error:
                said = error.strerror or error
                raise Unwritable(f"{self.folder}: cannot be written to: {said}") from error
            self._tidy()
            stack.callback(self._tidy)
            yield held

    def _tidy(self) -> None:
        with suppress(OSError):
            for part in self.folder.glob("*/.*.part"):
                part.unlink(missing_ok=True)

    def file(self, run: str) -> Path:
        """Where the record of a run is."""
        return self.folder / "runs" / f"{run}.json"

    def record(self, run: str) -> Record | None:
        """The record of a run id, or None where there is none.

        Raises `Corrupt` where there is something else, and BenchError for a format of the future.
        """
        return self._read(run, curves=True)

    def summary(self, run: str) -> Record | None:
        """The record as `record` returns it, but with empty curves: in a tenth of the time."""
        return self._read(run, curves=False)

    def _read(self, run: str, *, curves: bool) -> Record | None:
        path = self.file(run)
        if (held := _content(path)) is None:
            return None
        try:
            found = parsed(held, curves=curves)
        except ValueError as error:
            raise Corrupt(path, str(error)) from error
        except Newer as error:
            raise BenchError(f"{path}: format {error}; this version reads {FORMAT}") from error
        if found["id"] != run:
            raise Corrupt(path, f"no record of {run}")
        return found

    def records(self) -> Iterator[Record]:
        """Every record of the folder, in the order of the ids."""
        return self._all(self.record)

    def summaries(self) -> Iterator[Record]:
        """Every record of the folder as `summary` returns it."""
        return self._all(self.summary)

    def _all(self, read: Callable[[str], Record | None]) -> Iterator[Record]:
        for path in sorted((self.folder / "runs").glob("*.json")):
            if (found := read(path.stem)) is not None:
                yield found

    def write(self, record: Record) -> None:
        """Keep a record: afterwards the old one or the new one is there, never a part of it."""
        self._write(self.file(record["id"]), document(record).encode())

    def weights(self, run: str) -> Path:
        """Where the weights of a run's network are, once it is done."""
        return self.folder / "weights" / f"{run}.safetensors"

    def keep_weights(self, run: str, content: bytes) -> str:
        """Keep the weights of a run's network; returns their SHA-256."""
        self._write(self.weights(run), content)
        return hashlib.sha256(content).hexdigest()

    def state(self, run: str) -> Path:
        """Where a run under way keeps what it needs to go on."""
        return self.folder / "state" / f"{run}.safetensors"

    def keep_state(self, run: str, content: bytes | memoryview) -> None:
        """Keep what a run needs to go on, in the place of what was kept before.

        Not forced to the disk: what a power failure tears is found by its sum.
        """
        self._write(self.state(run), content, hashlib.sha256(content).digest(), force=False)

    def read_state(self, run: str) -> bytes | None:
        """What `keep_state` kept of a run, if it did; raises `Corrupt`."""
        path = self.state(run)
        if (held := _content(path)) is None:
            return None
        content, digest = held[:-DIGEST], held[-DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            raise Corrupt(path, "its content is not that of its sha256")
        return content

    def forget(self, run: str) -> None:
        """Remove everything that is kept of a run."""
        for path in (self.file(run), self.weights(run), self.state(run)):
            path.unlink(missing_ok=True)

    def _write(self, path: Path, *content: bytes | memoryview, force: bool = True) -> None:
        try:
            write_whole(path, *content, force=force)
        except OSError as error:
            raise Unwritable(
                f"{path}: cannot be written: {error.strerror or error}; what is finished is kept, "
                "and once it can be written the same command goes on"
            ) from error


def _content(path: Path) -> bytes | None:
    """What is in a file, None where there is nothing.

    `Corrupt` for anything else, of which a reader might never see the end.
    """
    with suppress(FileNotFoundError):  # removed between the two
        if path.is_file():
            return path.read_bytes()
    if os.path.lexists(path):
        raise Corrupt(path, "not a file")
    return None


def verify(path: Path, expected: str) -> None:
    """Raise `TeacherRefused` where a file is not the one that was promised."""
    if (found := sha256(path)) != expected:
        raise TeacherRefused(f"{path}: its sha256 is {found}; {expected} was expected")


def leftovers(results: Results, weights: bool = False) -> list[Path]:
    """Files that no command needs: states of ended runs, logs, torn files, students' weights."""
    folder, records = results.folder, {found["id"]: found for found in results.summaries()}
    found = [*folder.rglob(".*.part"), *folder.glob("logs/*.log"), *folder.glob("*/*.corrupt")]
    found += [path for path in folder.glob("slurm/*") if path.is_file()]
    found += [path for path in folder.glob("state/*.safetensors") if path.stem in records]
    if weights:
        students = {run for run, record in records.items() if record["kind"] == "student"}
        found += [path for path in folder.glob("weights/*") if path.stem in students]
    return sorted(found)
