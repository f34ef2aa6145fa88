"""A distiller's declaration, which can be read without torch: its options and attributes.

`declared` executes only a part of a distiller's file: constants, class attributes, and the names,
types and defaults of the constructor's parameters. Commands that do not train therefore need not
import torch. The tests compare each declaration with the class in the same file.
"""

import ast
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

if TYPE_CHECKING:
    from torch import Tensor

    from distillers.base import Features

# Types of options. The value in a suite must lie within the bounds.
Count = Annotated[int, Ge(1)]
StageIndex = Annotated[int, Ge(0)]  # 0 is the earliest stage
Width = Annotated[int, Ge(1), Le(65_536)]  # size of an embedding
BatchSize = Annotated[int, Ge(4), Le(65_536)]  # samples in a batch, at least 4 of them
Rounds = Annotated[int, Ge(1), Le(10_000)]  # iterations of a solver
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
NegativesFrom = Literal["classes", "samples"]  # samples: the loss reads no labels

# The fields of `Features`, in the order in which a network computes them.
FeatureName = Literal[
    "stem",
    "preactivations",
    "norms",
    "stages",
    "pooled_map",
    "pooled",
    "classifier",
    "logits",
    "distilled",
    "strong",
]


class Declaration:
    """The attributes of a distiller's class.

    Attributes:
        paper: Authors, title, venue, year and arXiv number.
        formula: The formula of the class docstring in LaTeX, for the documentation; each item is
            one displayed line. Built-in distillers have it, a plugin may leave it out.
        reads: The names of the `Features` fields that the loss may use, from both networks.
        teacher_reads: The names of the fields that the loss may use from the teacher. `reads` then
            applies to the student only. None: `reads` applies to both networks.
        uses_teacher: Whether the loss depends on the teacher. If all distillers in use say False,
            the teacher's forward pass is skipped.
        needs_labels: Whether the loss needs the single label or the index of each image. Such a
            loss is incompatible with recipes that mix images (mixup, cutmix).
        uses_labels: Whether the loss depends on the images' labels or on `batch.target`. Such a
            loss is incompatible with images without labels. None: the same as `needs_labels`.
        label_free: Options with which the loss does not depend on labels, by name; empty if there
            are no such options.
        relational: Whether the loss compares the samples of a batch with each other. A weight then
            holds for one size of batches, and suites with another size give a warning.
        undecayed: The names of the parameters that have no weight decay.
        note: A caveat that tables mark with a dagger, for example "reconstruction".
        new_options: The names of options that an earlier version of the distiller did not have. At
            its default, such an option is not part of run ids, so that earlier results are found.
    """

    paper: ClassVar[str]
    formula: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[FeatureName, ...]]
    teacher_reads: ClassVar[tuple[FeatureName, ...] | None] = None
    uses_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    uses_labels: ClassVar[bool | None] = None
    label_free: ClassVar[Mapping[str, object]] = {}
    relational: ClassVar[bool] = False
    undecayed: ClassVar[tuple[str, ...]] = ()
    note: ClassVar[str] = ""
    new_options: ClassVar[tuple[str, ...]] = ()

    def predict(self, student: "Features") -> "Tensor":
        """Return the logits (B, K) of the student at test time, by default its own.

        A distiller that overrides this method replaces the student's classifier by a head of its
        own parameters and buffers. The head is evaluated, saved with the weights, and counted in
        the network's cost.

        Args:
            student: The student's features, in evaluation mode; `reads` lists the filled fields.
        """
        return student.logits


class _Plain(Declaration):
    """A distiller without options."""

    def __init__(self, setting: Any) -> None:
        pass


@cache
def declared(name: str) -> type[Declaration]:
    """Return a class with the declarations of a built-in distiller, but without its loss.

    The constructor of this class has the parameters of the distiller's constructor.

    Args:
        name: The distiller's name, the name of its file without `.py`.
    """
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text("utf-8"))
    names: dict[str, Any] = {
        **globals(),
        "Distiller": _Plain,
        "__name__": f"distillers.{name}",
    }
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, module = node.module.partition(".")
            if package in ("annotated_types", "types", "typing"):
                _execute(node, names)
            elif package == "distillers" and not module.startswith(("_", "base")):
                names |= {alias.name: declared(module) for alias in node.names}
        elif isinstance(node, ast.Assign):
            with suppress(NameError):  # a constant that needs torch
                _execute(node, names)
        elif isinstance(node, ast.ClassDef) and node.name.lower() == name:
            node.body = [part for each in node.body if (part := _without_code(each))]
            _execute(node, names)
            declaration: type[Declaration] = names[node.name]
            return declaration
    raise KeyError(f"{name}.py defines no distiller '{name}'")


def _without_code(node: ast.stmt) -> ast.stmt | None:
    """Return an attribute, or a constructor or `predict` with an empty body; None for the rest."""
    if isinstance(node, ast.FunctionDef):
        if node.name not in ("__init__", "predict"):
            return None
        node.body, node.returns = [ast.Pass()], None
        for argument in node.args.args:  # self, setting, student
            argument.annotation = None
        return node
    return node if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) else None


def _execute(node: ast.stmt, names: dict[str, Any]) -> None:
    module = ast.fix_missing_locations(ast.Module([node], []))
    exec(compile(module, names["__name__"], "exec"), names)


def has_head(distiller: type) -> bool:
    """Return whether a distiller's class replaces the student's classifier at test time."""
    return issubclass(distiller, Declaration) and distiller.predict is not Declaration.predict


def reads_of_teacher(distiller: type[Declaration] | Declaration) -> tuple[FeatureName, ...]:
    """Return the names of the `Features` fields that a distiller may use from the teacher."""
    return distiller.reads if distiller.teacher_reads is None else distiller.teacher_reads
