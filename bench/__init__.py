"""Benchmark knowledge distillation: train the suites of YAML files, print the papers' tables.

From Python: `bench.run("quickstart")`, then `bench.records()`, `bench.table("quickstart")`,
`bench.compare("before", "now")` and `bench.forest("quickstart")`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.tables import compare, forest, records, run, table

__all__ = ["compare", "forest", "records", "run", "table"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Return a public function; import `bench.api`, and with it torch, on first use."""
    if name in __all__:
        module = importlib.import_module("bench.tables")
        return getattr(module, name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
