"""Distillers, one a file: `load("crd")` is the class CRD of crd.py."""

import importlib
import inspect
import pkgutil
from types import ModuleType

from distillers._base import Batch, Distiller, Features, Incompatible, Setting, Shapes

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
    """Every module here without a leading underscore, and every distiller that was registered."""
    own = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return sorted({*own, *_added})


def load(name: str) -> type[Distiller]:
    """The distiller of that name; KeyError where there is none."""
    if name in _added:
        return _added[name]
    if name not in names():
        raise KeyError(f"no distiller '{name}'; there are: {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return next(c for c in defined_in(module) if c.__name__.lower() == name)


def defined_in(module: ModuleType) -> list[type[Distiller]]:
    """The distillers that a module itself defines, in the order of its lines."""
    return [
        c
        for c in vars(module).values()
        if isinstance(c, type)
        and issubclass(c, Distiller)
        and c.__module__ == module.__name__
        and not inspect.isabstract(c)
    ]


def register(distiller: type[Distiller]) -> None:
    """Make a user's distiller known by its class's name in lower case."""
    name = distiller.__name__.lower()
    if name in names() and _added.get(name) is not distiller:
        raise ValueError(f"a distiller '{name}' exists already")
    _added[name] = distiller
