"""A folder of results: one JSON record a run, its weights, and the state of unfinished runs.

runs/<id>.json             what is known of a run; written once, whole or not at all
weights/<id>.safetensors   the network at the end of the run
state/<id>.pt              a run under way, as of its last epoch
<suite>.md, .tex, .csv     tables, made from the records
mlflow.db, mlartifacts/    MLflow's view of the same records
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError, TeacherRefused

FORMAT = 1
Record = Mapping[str, Any]


class Results:
    """The files of one results folder; nothing is created before the first write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder; BenchError, before any work is done, if it cannot be written to."""
        try:
            write_whole(self.folder / "runs" / ".writable", b"")
        except OSError as error:
            raise BenchError(f"{self.folder}: cannot be written to: {error.strerror}") from error
        (self.folder / "runs" / ".writable").unlink()

    def record(self, run: str) -> Record | None:
        """The record of a run id, or None where there is none that can be read."""
        try:
            found = json.loads((self.folder / "runs" / f"{run}.json").read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("format") == FORMAT else None

    def records(self) -> Iterator[Record]:
        """Every record of the folder, in the order of the ids."""
        for path in sorted((self.folder / "runs").glob("*.json")):
            if (found := self.record(path.stem)) is not None:
                yield found

    def write(self, record: Record) -> None:
        """Keep a record: afterwards the old one or the new one is there, never a part of it."""
        text = json.dumps({"format": FORMAT, **record}, indent=1, allow_nan=False) + "\n"
        write_whole(self.folder / "runs" / f"{record['id']}.json", text.encode())

    def weights(self, run: str) -> Path:
        """Where the weights of a run's network are, once it is done."""
        return self.folder / "weights" / f"{run}.safetensors"

    def state(self, run: str) -> Path:
        """Where a run under way keeps what it needs to go on."""
        return self.folder / "state" / f"{run}.pt"

    def forget(self, run: str) -> None:
        """Remove everything that is kept of a run."""
        for path in (self.folder / "runs" / f"{run}.json", self.weights(run), self.state(run)):
            path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new, never a mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Raise `TeacherRefused` where a file is not the one that was promised."""
    if (found := sha256(path)) != expected:
        raise TeacherRefused(f"{path}: its sha256 is {found}; {expected} was expected")


def leftovers(results: Results, weights: bool = False) -> list[Path]:
    """Files that no command needs: states of ended runs, logs, torn files, students' weights."""
    folder, records = results.folder, {found["id"]: found for found in results.records()}
    found = [*folder.rglob(".*.part"), *folder.glob("logs/*.log")]
    found += [path for path in folder.glob("state/*.pt") if path.stem in records]
    if weights:
        students = {run for run, record in records.items() if record["kind"] == "student"}
        found += [path for path in folder.glob("weights/*") if path.stem in students]
    return sorted(found)
