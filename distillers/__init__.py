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
]


def names() -> list[str]:
    """Return the names of the distillers here: every module without a leading underscore."""
    modules = pkgutil.iter_modules(__path__)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def load(name: str) -> type[Distiller]:
    """The distiller of that name; KeyError where there is none."""
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
