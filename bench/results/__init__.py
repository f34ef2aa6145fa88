"""A folder of results: records, weights, checkpoints of unfinished runs."""

from bench.results.files import Held, sha256, write_whole
from bench.results.record import Record, document
from bench.results.store import Corrupt, Results, Unwritable, leftovers, verify

__all__ = ["Corrupt", "Held", "Record", "Results", "Unwritable", "document", "leftovers", "sha256",
           "verify", "write_whole"]  # fmt: skip
