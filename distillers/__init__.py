"""The built-in distillers (losses for knowledge distillation), one class per file.

`distillers.base` documents the contract for your own distiller; `distillers.contract` checks it.
"""

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from distillers.declaration import Declaration as Declaration
from distillers.declaration import declared as declared

if TYPE_CHECKING:
    from distillers.base import Batch, Distiller, Features, Incompatible, Setting, Shapes

__all__ = [
    "Batch",
    "Distiller",
    "Features",
    "Incompatible",
    "Setting",
    "Shapes",
    "load",
    "names",
]


def __getattr__(name: str) -> Any:
    """Return a name of `distillers.base`, which imports torch."""
    if name in __all__:
        return getattr(importlib.import_module("distillers.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> list[str]:
    """Return the sorted names of the built-in distillers: the file names without `.py`."""
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    modules -= {"base", "contract", "declaration"}
    return sorted(name for name in modules if not name.startswith("_"))


@cache
def load(name: str) -> "type[Distiller]":
    """Return the class of a built-in distiller.

    Args:
        name: The class's name in lower case, one of `names()`.

    Returns:
        The class; call it with a `Setting` and options.

    Raises:
        KeyError: No distiller has this name.
    """
    if name not in names():
        raise KeyError(f"no distiller '{name}'. Allowed: {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return next(c for c in defined_in(module) if c.__name__.lower() == name)


def defined_in(module: ModuleType) -> "list[type[Distiller]]":
    """Return the distiller classes that a module defines, in the order of their definition.

    Args:
        module: Any module. Its abstract classes and imported classes are left out.

    Returns:
        The classes.
    """
    from distillers.base import Distiller

    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Distiller)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
