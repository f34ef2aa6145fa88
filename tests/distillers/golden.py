"""Golden values: losses and gradients that the reference code computed on fixed inputs.

`tests/golden/losses` holds them. The sources are RepDistiller @b84f547 and
giakoumoglou/distillers @a2ee80b for the papers' methods; `test_golden_*.py` name the others.
"""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import distillers
from distillers import Batch, Distiller, Features, Setting
from tests.distillers.geometry import shapes_of

GEOMETRIES = ("same", "cross")
FOLDER = Path(__file__).parents[1] / "golden" / "losses"
LAYERS = {"conv": "regress.0", "bn": "regress.1"}  # the reference's name -> our name
RELATIVE_TOLERANCE = 1e-4


def read(path: Path) -> dict[str, Tensor]:
    with np.load(path) as file:
        return {name: torch.as_tensor(file[name]) for name in file.files}


def golden(geometry: str, name: str) -> dict[str, Tensor]:
    return read(FOLDER / geometry / f"{name}.npz")


def features_of(inputs: dict[str, Tensor], network: str) -> Features:
    """Return the features of the student or the teacher, with all stages in the file."""
    grad = network == "student"
    tensors = {
        k.removeprefix(f"{network}/"): v.clone().requires_grad_(grad)
        for k, v in inputs.items()
        if k.startswith(f"{network}/")
    }
    count = sum(name.startswith("stages/") for name in tensors)
    stages = tuple(tensors[f"stages/{i}"] for i in range(count))
    return Features(stages, tensors["pooled"], tensors["logits"])


class Case:
    """One distiller on one geometry, with the reference's initial weights and golden values.

    Args:
        geometry: `same` or `cross`.
        distiller: The name of a built-in distiller, or a class.
        file: Name of the golden file; by default the distiller's.
        optional: Further fields of the student's and the teacher's features.
        options: Options of the distiller.
    """

    def __init__(
        self,
        geometry: str,
        distiller: str | type[Distiller],
        file: str = "",
        optional: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
        **options: Any,
    ) -> None:
        inputs = golden(geometry, "inputs")
        self.golden = golden(geometry, file or str(distiller))
        self.student = replace(features_of(inputs, "student"), **optional[0])
        self.teacher = replace(features_of(inputs, "teacher"), **optional[1])
        self.batch = Batch(inputs["labels"], inputs["index"])
        rng = torch.Generator().manual_seed(0)
        networks = shapes_of(self.student), shapes_of(self.teacher)
        setting = Setting(*networks, inputs["train_labels"], rng)
        cls = distillers.load(distiller) if isinstance(distiller, str) else distiller
        options = self.options(inspect.signature(cls).parameters) | options
        self.distiller: Distiller = cls(setting, **options)

    def options(self, names: Any) -> dict[str, int]:
        """Return the options of the reference run that the distiller takes."""
        options = {"width": 16}
        if "stage" in self.golden:
            options["stage"] = int(self.golden["stage"])
        if "rows" in self.golden:
            options["negatives"] = self.golden["rows"].shape[1] - 1
        return {name: value for name, value in options.items() if name in names}

    @torch.no_grad()
    def load_parameters(self, layers: dict[str, str] = LAYERS) -> None:
        """Copy the reference's initial weights; every parameter that learns needs one.

        Args:
            layers: Our name of a layer, by the reference's; other layers have equal names.
        """
        parameters = {n: p for n, p in self.distiller.named_parameters() if p.requires_grad}
        reference = {k.removeprefix("param/"): v for k, v in self.golden.items() if "param/" in k}
        for name, value in reference.items():
            layer, _, leaf = name.rpartition(".")
            parameters.pop(f"{layers.get(layer, layer)}.{leaf}".lstrip(".")).copy_(value)
        assert not parameters, f"no golden value for {parameters.keys()}"

    def loss(self) -> Tensor:
        rows = {"rows": self.golden["rows"]} if "rows" in self.golden else {}
        return self.distiller(self.student, self.teacher, self.batch, **rows)

    def student_tensors(self) -> dict[str, Tensor]:
        """Return the student's features by their names in the golden files."""
        tensors = {"pooled": self.student.pooled, "logits": self.student.logits}
        return tensors | {f"stages/{i}": stage for i, stage in enumerate(self.student.stages)}

    def assert_equal(self) -> None:
        """Compare the loss and all gradients at the student's features with the golden values."""
        loss = self.loss()
        assert_near(loss, self.golden["loss"])
        loss.backward()
        for key, tensor in self.student_tensors().items():
            expected = self.golden.get(f"grad/{key}")
            assert (tensor.grad is None) == (expected is None), key
            if expected is not None:
                assert_near(tensor.grad, expected)


def assert_near(actual: Tensor, golden: Tensor) -> None:
    """Compare every number, within RELATIVE_TOLERANCE of its size or of the largest one."""
    golden = golden.to(actual.dtype)
    bound = RELATIVE_TOLERANCE * golden.abs().max().item()
    torch.testing.assert_close(actual.detach(), golden, rtol=RELATIVE_TOLERANCE, atol=bound)
