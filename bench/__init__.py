"""Benchmarks of knowledge distillation: suites in YAML, tables as in the papers.

From Python: `bench.run("quickstart")` and `bench.records("results")`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import records, run

__all__ = ["records", "run"]


def __getattr__(name: str) -> Any:
    """Import a public function, and with it torch, when it is first used."""
    if name in __all__:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
