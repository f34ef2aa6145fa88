"""A results folder: records, weights, and checkpoints of unfinished runs, one file per run.

runs/<id>.json             record of a finished run, written atomically
runs/index.sqlite          copies of many records, which tables read faster; may be deleted
weights/<id>.safetensors   network at the end of the run
state/<id>.safetensors     checkpoint of an unfinished run, after its last completed epoch
<suite>.md, .tex, .csv     tables, made from the records
<suite>-*.png, .pdf        figures of `bench figures`
plans/<suite>.json         the plan, from which tables are made without data and plugins
plans/<suite>-<hash>.json  the plan of a suite with changes by --set and --seeds
tuned/<suite>.json         trials of `tune`, and the settings that they choose; named as plans/
differing/                 records with other numbers, by `bench merge` from several folders
logs/<cohort>.log          output of a worker
logs/mlflow.logged         hash of the records that MLflow has, so that it is not opened in vain
mlflow.db, mlartifacts/    MLflow's copies of the records
tensorboard/               TensorBoard's copies of the records
teacher_outputs/           teachers' outputs for each epoch (`bench run --keep-teacher`)
slurm/                     events and output of Slurm jobs
.slurm                     name of the Slurm jobs that may still run
.lock                      exists while a command uses the folder; names its process
*.corrupt                  quarantined files

Records and checkpoints end with a SHA-256 of their content. A record also has the SHA-256 of the
run's weights.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, TeacherRefused
from bench.results.files import locked, quarantine, sha256, write_atomic
from bench.results.index import Index
from bench.results.record import FORMAT, NewerFormat, Record, document, parse

if TYPE_CHECKING:
    from bench.planning.plan import Plan

PARTS = (
    "runs",
    "state",
    "weights",
    "plans",
    "tuned",
    "differing",
    "logs",
    "slurm",
    "mlflow.db",
    "mlartifacts",
    "tensorboard",
    "teacher_outputs",
)
DIFFERING = "differing"  # name of the folder of records with other numbers
MAX_FILE_BYTES = 8 * 1024**3  # limit for a checkpoint
MAX_RECORD_BYTES = 512 * 1024**2
DIGEST_BYTES = 32  # length of the SHA-256 at the end of a checkpoint


class Corrupt(BenchError):
    """A file is damaged: its content is not the content that was written.

    Attributes:
        path: The file.
        why: The evidence, a part of the message.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: corrupt: {why}; `bench run` quarantines it and repeats the run")
        self.path, self.why = path, why


class Unwritable(BenchError):
    """A file cannot be written: disk full, permission denied, disk error."""


class Results:
    """The files of a results folder; the folder is created by the first write.

    Args:
        folder: Path of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: Index | None = None

    @contextmanager
    def indexed(self) -> Iterator[None]:
        """Read records without curves from the folder's index inside the block.

        Records that the index does not have are read from their files, and added to the index.
        """
        if self._index is not None:
            yield
            return
        self._index = Index(self.folder / "runs")
        try:
            yield
        finally:
            self._index.save()
            self._index = None

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Lock the folder for this command, and remove temporary files of killed commands.

        Yields:
            The descriptor of the lock, for workers to inherit.

        Raises:
            LockHeld: Another command uses the folder.
            Unwritable: The folder is not writable, or one of its `PARTS` is a symbolic link. A link
                is refused because writing or deleting could change files outside the folder.
        """
        with ExitStack() as stack:
            if links := [part for part in PARTS if (self.folder / part).is_symlink()]:
                raise Unwritable(
                    f"{self.folder / links[0]}: a link, which may lead out of the results folder. "
                    "Replace it with its target"
                )
            try:
                descriptor = stack.enter_context(locked(self.lock_file))
                probe = self.folder / "runs" / ".writable"
                write_atomic(probe, bytes(4096))
                probe.unlink()
            except OSError as error:
                reason = error.strerror or error
                raise Unwritable(f"{self.folder}: cannot be written to: {reason}") from error
            self._remove_temporary()
            stack.callback(self._remove_temporary)
            yield descriptor

    def _remove_temporary(self) -> None:
        with suppress(OSError):
            for part in self.folder.glob("*/.*.part"):
                part.unlink(missing_ok=True)

    @property
    def lock_file(self) -> Path:
        """Path of the lock file, which exists while a command uses the folder."""
        return self.folder / ".lock"

    def file(self, run: str) -> Path:
        """Return the path of a run's record."""
        return self.folder / "runs" / f"{run}.json"

    @property
    def teacher_outputs(self) -> Path:
        """Folder of the kept outputs of teachers."""
        return self.folder / "teacher_outputs"

    def weights(self, run: str) -> Path:
        """Return the path of the weights of a run's network."""
        return self.folder / "weights" / f"{run}.safetensors"

    def state(self, run: str) -> Path:
        """Return the path of the checkpoint of an unfinished run."""
        return self.folder / "state" / f"{run}.safetensors"

    def record(self, run: str, *, curves: bool = True) -> Record | None:
        """Return the record of a run; None if there is no record.

        Args:
            run: The run's id.
            curves: Whether to parse the curves. If false, they are empty, and reading takes a tenth
                of the time.

        Raises:
            Corrupt: The file is not a valid record.
            BenchError: A later version wrote the record.
        """
        if curves or self._index is None:
            return read_record(self.file(run), run, curves=curves)
        key = self._index.key(run)  # before the file is read, which may change then
        if (record := self._index.find(run, key)) is None:
            record = read_record(self.file(run), run, curves=False)
            if record is not None:
                self._index.add(record, key)
        return record

    def summary(self, run: str) -> Record | None:
        """Return the record of a run with empty curves; it raises the same errors as `record`."""
        return self.record(run, curves=False)

    def records(self, *, curves: bool = True) -> Iterator[Record]:
        """Yield every record of the folder, sorted by id."""
        with nullcontext() if curves else self.indexed():
            for run in self.runs():
                if (record := self.record(run, curves=curves)) is not None:
                    yield record

    def runs(self) -> list[str]:
        """Return the ids of the runs with a record, sorted."""
        with suppress(FileNotFoundError, NotADirectoryError):
            names = sorted(os.listdir(self.folder / "runs"))
            return [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return []

    def differing(self, run: str) -> list[Path]:
        """Return the stored records of a run that have other numbers than its record."""
        if not os.path.isdir(f"{self.folder}/{DIFFERING}"):
            return []
        kept = self.file(run)
        stored = sorted((self.folder / DIFFERING).glob(f"*/{run}.json"))
        return [path for path in stored if not kept.is_file() or sha256(path) != sha256(kept)]

    def write(self, record: Record) -> None:
        """Write a run's record atomically; it replaces the previous record."""
        self._write(self.file(record.id), document(record).encode())

    def save_plan(self, path: Path, text: str) -> None:
        """Write a plan or the choices of trials, unless the file already has this text."""
        content = text.encode()
        if not path.is_file() or path.read_bytes() != content:
            self._write(path, content)

    def save_weights(self, run: str, content: bytes) -> str:
        """Write the weights of a run's network; return their SHA-256."""
        self._write(self.weights(run), content)
        return sha256(content)

    def save_state(self, run: str, content: bytes | memoryview) -> None:
        """Write a run's checkpoint; it replaces the previous checkpoint.

        The file is not synced to the disk. If a power failure damages it, the checksum differs.
        """
        self._write(self.state(run), content, bytes.fromhex(sha256(content)), fsync=False)

    def read_state(self, run: str) -> bytes | None:
        """Return the content of a run's checkpoint; None if there is no checkpoint.

        Raises:
            Corrupt: The content does not match its checksum.
        """
        path = self.state(run)
        if (file := _content(path, MAX_FILE_BYTES)) is None:
            return None
        content, digest = file[:-DIGEST_BYTES], file[-DIGEST_BYTES:]
        if sha256(content) != digest.hex():
            raise Corrupt(path, "its content does not match its sha256")
        return content

    def delete_run(self, run: str) -> None:
        """Delete the record, the weights and the checkpoint of a run."""
        for path in (self.file(run), self.weights(run), self.state(run)):
            path.unlink(missing_ok=True)

    def _write(self, path: Path, *chunks: bytes | memoryview, fsync: bool = True) -> None:
        try:
            write_atomic(path, *chunks, fsync=fsync)
        except OSError as error:
            raise Unwritable(
                f"{path}: cannot be written: {error.strerror or error}. Finished runs are saved; "
                "once the folder can be written to, the same command resumes"
            ) from error


def read_record(path: Path, run: str, *, curves: bool = True) -> Record | None:
    """Return the record in a file; None if there is no file. `Results.record` describes errors.

    Args:
        path: The file.
        run: The run's id.
        curves: Whether to parse the curves.
    """
    if (content := _content(path, MAX_RECORD_BYTES)) is None:
        return None
    try:
        record = parse(content, curves=curves)
    except ValueError as error:
        raise Corrupt(path, str(error)) from error
    except NewerFormat as error:
        raise BenchError(f"{path}: format {error}; this version reads format {FORMAT}") from error
    if record.id != run:
        raise Corrupt(path, f"it is not the record of {run}")
    return record


def _content(path: Path, max_bytes: int) -> bytes | None:
    """Return a file's bytes; None if there is no file.

    Raises `Corrupt` for a file of more than `max_bytes`, and for a pipe or a device, because
    reading a pipe or a device might never end.
    """
    with suppress(FileNotFoundError):  # the file may disappear after is_file
        if path.is_file():
            if (size := path.stat().st_size) > max_bytes:
                raise Corrupt(path, f"it has {size:,} bytes, more than {max_bytes:,}")
            return path.read_bytes()
    if os.path.lexists(path):
        raise Corrupt(path, "not a file")
    return None


def verify(path: Path, expected: str) -> None:
    """Compare the SHA-256 of a file of weights with the expected value.

    Raises:
        TeacherRefused: The two values differ.
    """
    if (digest := sha256(path)) != expected:
        raise TeacherRefused(f"{path}: its sha256 is {digest}, expected {expected}")


def leftovers(results: Results, weights: bool = False) -> list[Path]:
    """Return the files that no command needs, sorted by path.

    Args:
        results: The results folder.
        weights: Whether to list weights of students, too, except of students that are teachers of
            other runs, and the kept outputs of teachers.

    Returns:
        Logs, quarantined and temporary files, output of Slurm jobs, checkpoints of finished runs.
        The checkpoint of a failed run is not listed: the run may resume from it.
    """
    folder = results.folder
    records = {record.id: record for record in results.records(curves=False)}
    ended = {run for run, record in records.items() if record.status in ("done", "diverged")}
    files = [*folder.rglob(".*.part"), *folder.glob("logs/*.log"), *folder.glob("*/*.corrupt")]
    files += [path for path in folder.glob("slurm/*") if path.is_file()]
    files += [path for path in folder.glob("state/*.safetensors") if path.stem in ended]
    if weights:
        taught_by = {id for record in records.values() for id in record.specification.needs}
        students = {id for id, r in records.items() if r.kind == "student"} - taught_by
        files += [path for path in folder.glob("weights/*") if path.stem in students]
        files += folder.glob("teacher_outputs/*.npy")
    return sorted(files)


def quarantine_corrupt(plan: "Plan", results: Results) -> list[str]:
    """Quarantine corrupt records and corrupt weights of teachers, so that the runs are repeated.

    Weights that no run of the plan needs are not checked. Code that reads such weights verifies
    them.

    Args:
        plan: The plan.
        results: The results folder, locked.

    Returns:
        One message per quarantined file.
    """
    messages = []
    needed = {id for run in plan.runs.values() for id in run.needs}
    for run in plan.runs.values():
        try:
            record = results.summary(run.id)
            path = results.weights(run.id)
            if record and record.status == "done" and run.id in needed and path.exists():
                _check_weights(path, record)
        except Corrupt as error:
            name = quarantine(error.path).name
            messages.append(f"{error.path}: corrupt: {error.why}; quarantined as {name}")
    return messages


def _check_weights(path: Path, record: Record) -> None:
    if not path.is_file():
        raise Corrupt(path, "not a file")
    if (digest := sha256(path)) != record.weights:
        raise Corrupt(path, f"its sha256 is {digest}, expected {record.weights}")
