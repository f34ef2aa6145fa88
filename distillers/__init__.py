"""Distillers, one per file: `load("crd")` returns the class CRD of crd.py.

`distillers.base` documents the contract for your own distiller.
"""

import importlib
import inspect
import pkgutil
from types import ModuleType

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
    "register",
]

_added: dict[str, type[Distiller]] = {}


def names() -> list[str]:
    """Return the names of all distillers: one for each file here, and those registered."""
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    shipped = {name for name in modules - {"base"} if not name.startswith("_")}
    return sorted({*shipped, *_added})


def load(name: str) -> type[Distiller]:
    """Return a distiller's class.

    Args:
        name: The class's name in lower case, one of `names()`.

    Returns:
        The class; call it with a `Setting` and options.

    Raises:
        KeyError: No distiller has this name.
    """
    if name in _added:
        return _added[name]
    if name not in names():
        raise KeyError(f"no distiller '{name}'. Allowed: {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return next(c for c in defined_in(module) if c.__name__.lower() == name)


def defined_in(module: ModuleType) -> list[type[Distiller]]:
    """Return the distillers that a module defines itself, in the order of its lines.

    Args:
        module: Any module; the abstract and the imported classes in it are left out.

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


def register(distiller: type[Distiller]) -> None:
    """Make a user's distiller known by its class's name in lower case."""
    name = distiller.__name__.lower()
    if name in names() and _added.get(name) is not distiller:
        raise ValueError(f"a distiller '{name}' exists already")
    _added[name] = distiller
