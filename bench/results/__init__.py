"""Read and write a results folder: records, weights, checkpoints of unfinished runs."""

from bench.results.files import LockHeld, quarantine, sha256, write_atomic
from bench.results.record import Record, document
from bench.results.store import PARTS, Corrupt, Results, Unwritable, leftovers, verify

__all__ = [
    "PARTS", "Corrupt", "LockHeld", "Record", "Results", "Unwritable", "document", "leftovers",
    "quarantine", "sha256", "verify", "write_atomic",
]  # fmt: skip
