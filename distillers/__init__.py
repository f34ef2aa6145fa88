"""Distillers, one per file: `load("crd")` returns the class CRD of crd.py.

`distillers.base` documents the contract for your own distiller; `distillers.contract` checks it.
"""

import importlib
import inspect
import pkgutil
from types import ModuleType

from distillers.base import Batch, Distiller, Features, Incompatible, Setting, Shapes

__all__ = ["Batch", "Distiller", "Features", "Incompatible", "Setting", "Shapes", "load", "names"]


def names() -> list[str]:
    """Return the sorted names of the distillers here, one for each file."""
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(name for name in modules - {"base", "contract"} if not name.startswith("_"))


def load(name: str) -> type[Distiller]:
    """Return a distiller's class.

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


def defined_in(module: ModuleType) -> list[type[Distiller]]:
    """Return the distillers that a module defines itself, in the order of its lines.

    Args:
        module: Any module; abstract and imported classes do not count.

    Returns:
        The classes.
    """
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Distiller)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
