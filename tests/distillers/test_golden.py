"""Losses and gradients equal those of the reference code on fixed inputs (tests/golden/losses).

The reference is RepDistiller @b84f547 and, for DCD, giakoumoglou/distillers @a2ee80b.
"""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import distillers
from distillers import Batch, Features, Setting
from tests.distillers.geometry import shapes_of

FOLDER = Path(__file__).parents[1] / "golden" / "losses"
NAMES = ("kd", "fitnet", "at", "sp", "cc", "rkd", "pkt", "crd", "dcd")
LAYERS = {"conv": "regress.0", "bn": "regress.1"}  # the reference's name -> our name
RELATIVE_TOLERANCE = 1e-4


def read(path: Path) -> dict[str, Tensor]:
    with np.load(path) as file:
        return {name: torch.as_tensor(file[name]) for name in file.files}


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
    """One distiller on one geometry, with the reference's initial weights and golden values."""

    def __init__(self, geometry: str, name: str) -> None:
        inputs = read(FOLDER / geometry / "inputs.npz")
        self.golden = read(FOLDER / geometry / f"{name}.npz")
        self.student = features_of(inputs, "student")
        self.teacher = features_of(inputs, "teacher")
        self.batch = Batch(inputs["labels"], inputs["index"])
        rng = torch.Generator().manual_seed(0)
        networks = shapes_of(self.student), shapes_of(self.teacher)
        setting = Setting(*networks, inputs["train_labels"], rng)
        cls = distillers.load(name)
        self.distiller = cls(setting, **self.options(inspect.signature(cls).parameters))
        self.load_initial_values()

    def options(self, names) -> dict[str, int]:
        """Return the options of the reference run that the distiller takes."""
        options = {"width": 16}
        if "stage" in self.golden:
            options["stage"] = int(self.golden["stage"])
        if "rows" in self.golden:
            options["negatives"] = self.golden["rows"].shape[1] - 1
        return {name: value for name, value in options.items() if name in names}

    @torch.no_grad()
    def load_initial_values(self) -> None:
        """Copy the reference's weights and memory banks; every parameter needs one."""
        parameters = dict(self.distiller.named_parameters())
        reference = {k.removeprefix("param/"): v for k, v in self.golden.items() if "param/" in k}
        for name, value in reference.items():
            layer, _, leaf = name.rpartition(".")
            parameters.pop(f"{LAYERS.get(layer, layer)}.{leaf}".lstrip(".")).copy_(value)
        assert not parameters, f"no golden value for {parameters.keys()}"
        for side in ("s", "t"):
            if f"bank_{side}_before" in self.golden:
                bank = getattr(self.distiller, f"bank_{side}")
                bank.rows.copy_(self.golden[f"bank_{side}_before"])

    def loss(self) -> Tensor:
        rows = {"rows": self.golden["rows"]} if "rows" in self.golden else {}
        return self.distiller(self.student, self.teacher, self.batch, **rows)

    def student_tensors(self) -> dict[str, Tensor]:
        """Return the student's features by their names in the golden files."""
        tensors = {"pooled": self.student.pooled, "logits": self.student.logits}
        return tensors | {f"stages/{i}": stage for i, stage in enumerate(self.student.stages)}


def assert_near(actual: Tensor, golden: Tensor) -> None:
    """Compare every number, within RELATIVE_TOLERANCE of its size or of the largest one."""
    golden = golden.to(actual.dtype)
    bound = RELATIVE_TOLERANCE * golden.abs().max().item()
    torch.testing.assert_close(actual.detach(), golden, rtol=RELATIVE_TOLERANCE, atol=bound)


@pytest.mark.parametrize("geometry", ["same", "cross"])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_equal_the_reference(name, geometry):
    case = Case(geometry, name)
    loss = case.loss()
    assert loss.item() == pytest.approx(case.golden["loss"].item(), rel=RELATIVE_TOLERANCE)
    loss.backward()
    for key, tensor in case.student_tensors().items():
        golden = case.golden.get(f"grad/{key}")
        assert (tensor.grad is None) == (golden is None), key
        if golden is not None:
            assert_near(tensor.grad, golden)


def in_bf16(features: Features) -> Features:
    """Round features to bf16 and back to float32, as networks under bf16 return them."""

    def rounded(x: Tensor) -> Tensor:
        return x.detach().bfloat16().float().requires_grad_(x.requires_grad)

    stages = tuple(map(rounded, features.stages))
    return Features(stages, rounded(features.pooled), rounded(features.logits))


@pytest.mark.parametrize("geometry", ["same", "cross"])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_are_close_to_the_reference_in_bf16(name, geometry):
    """The loss is within 0.5 %, the gradient as a vector within 5 %, of float32."""
    case = Case(geometry, name)
    case.student, case.teacher = in_bf16(case.student), in_bf16(case.teacher)
    loss = case.loss()
    assert loss.item() == pytest.approx(case.golden["loss"].item(), rel=0.005)
    loss.backward()
    for key, tensor in case.student_tensors().items():
        golden = case.golden.get(f"grad/{key}")
        if golden is not None:
            assert (tensor.grad - golden).norm() <= 0.05 * golden.norm()


@pytest.mark.parametrize("geometry", ["same", "cross"])
def test_memory_banks_of_crd_equal_the_reference(geometry):
    case = Case(geometry, "crd")
    case.loss()
    crd = case.distiller
    assert_near(crd.z_s, case.golden["z_student_anchor"])
    assert_near(crd.z_t, case.golden["z_teacher_anchor"])
    assert_near(crd.bank_s.rows, case.golden["bank_s_after"])
    assert_near(crd.bank_t.rows, case.golden["bank_t_after"])
    second = case.loss()
    assert second.item() == pytest.approx(
        case.golden["loss_second_step"].item(), rel=RELATIVE_TOLERANCE
    )
    assert_near(crd.z_s, case.golden["z_student_anchor"])  # set by the first batch only


def test_every_golden_file_is_used():
    files = {path.stem for path in FOLDER.glob("*/*.npz")} - {"inputs"}
    assert files == set(NAMES)
