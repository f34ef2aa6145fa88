"""Benchmark knowledge distillation: train the suites of YAML files, print the papers' tables.

From Python, `bench.run("quickstart")` trains a suite; `bench.records("results")` reads the results.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import records, run

__all__ = ["records", "run"]


def __getattr__(name: str) -> Any:
    """Return a public function; import `bench.api`, and with it torch, on first use."""
    if name in __all__:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
