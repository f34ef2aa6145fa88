"""torch and numpy, imported when one of their attributes is first used.

Modules that commands without training import, such as `bench.data`, take torch from here. Their
annotations are not evaluated (`from __future__ import annotations`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch as torch
    from torch.nn import functional as F
else:

    class LazyModule:
        """A module that is imported at the first use of an attribute.

        Args:
            name: The module's name.
        """

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self._name), name)
            setattr(self, name, value)
            return value

    np, torch, F = map(LazyModule, ("numpy", "torch", "torch.nn.functional"))

__all__ = ["F", "np", "torch"]
