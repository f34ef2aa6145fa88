"""Benchmarks of knowledge distillation: suites in YAML, tables as in the papers.

From Python: `bench.run("quickstart")`, then `bench.records()`, `bench.table("quickstart")`,
`bench.compare("before", "now")` and `bench.forest("quickstart")`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import run
    from bench.tables import compare, forest, records, table

__all__ = ["compare", "forest", "records", "run", "table"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Import a public function, and with it torch, when it is first used."""
    if name in __all__:
        module = importlib.import_module("bench.api" if name == "run" else "bench.tables")
        return getattr(module, name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
