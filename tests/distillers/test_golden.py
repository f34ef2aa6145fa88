"""Values of the field: the losses and gradients of RepDistiller @b84f547 and, for DCD, of
giakoumoglou/distillers @a2ee80b, on fixed inputs (tests/golden/losses).
"""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import distillers
from distillers import Batch, Features, Setting
from tests.distillers.geometry import shapes

FOLDER = Path(__file__).parents[1] / "golden" / "losses"
NAMES = ("kd", "fitnet", "at", "sp", "cc", "rkd", "pkt", "crd", "dcd")
LAYERS = {"conv": "regress.0", "bn": "regress.1"}  # theirs -> ours
CLOSE = 1e-4  # relative


def read(path: Path) -> dict[str, Tensor]:
    with np.load(path) as file:
        return {name: torch.as_tensor(file[name]) for name in file.files}


def features(inputs: dict[str, Tensor], who: str) -> Features:
    """A network's view; as many stages as the file holds."""
    grad = who == "student"
    own = {
        k.removeprefix(f"{who}/"): v.clone().requires_grad_(grad)
        for k, v in inputs.items()
        if k.startswith(f"{who}/")
    }
    stages = sum(name.startswith("stages/") for name in own)
    return Features(tuple(own[f"stages/{i}"] for i in range(stages)), own["pooled"], own["logits"])


class Case:
    """One method on one geometry: its distiller with their initial weights, and their numbers."""

    def __init__(self, geometry: str, name: str) -> None:
        inputs = read(FOLDER / geometry / "inputs.npz")
        self.golden = read(FOLDER / geometry / f"{name}.npz")
        self.student, self.teacher = features(inputs, "student"), features(inputs, "teacher")
        self.batch = Batch(inputs["labels"], inputs["index"])
        rng = torch.Generator().manual_seed(0)
        networks = shapes(self.student), shapes(self.teacher)
        setting = Setting(*networks, inputs["train_labels"], rng)
        kind = distillers.load(name)
        self.distiller = kind(setting, **self.options(inspect.signature(kind).parameters))
        self.load()

    def options(self, known) -> dict[str, int]:
        given = {"width": 16}
        if "stage" in self.golden:
            given["stage"] = int(self.golden["stage"])
        if "rows" in self.golden:
            given["negatives"] = self.golden["rows"].shape[1] - 1
        return {name: value for name, value in given.items() if name in known}

    @torch.no_grad()
    def load(self) -> None:
        own = dict(self.distiller.named_parameters())
        theirs = {k.removeprefix("param/"): v for k, v in self.golden.items() if "param/" in k}
        for name, value in theirs.items():
            layer, _, leaf = name.rpartition(".")
            own.pop(f"{LAYERS.get(layer, layer)}.{leaf}".lstrip(".")).copy_(value)
        assert not own, f"without a golden value: {own.keys()}"
        for side in ("s", "t"):
            if f"bank_{side}_before" in self.golden:
                bank = getattr(self.distiller, f"bank_{side}")
                bank.rows.copy_(self.golden[f"bank_{side}_before"])

    def loss(self) -> Tensor:
        given = {"rows": self.golden["rows"]} if "rows" in self.golden else {}
        return self.distiller(self.student, self.teacher, self.batch, **given)


def assert_near(found: Tensor, golden: Tensor) -> None:
    """Every number within CLOSE of its own size or of the largest one's."""
    golden = golden.to(found.dtype)
    bound = CLOSE * golden.abs().max().item()
    torch.testing.assert_close(found.detach(), golden, rtol=CLOSE, atol=bound)


@pytest.mark.parametrize("geometry", ["same", "cross"])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient(name, geometry):
    case = Case(geometry, name)
    loss = case.loss()
    assert loss.item() == pytest.approx(case.golden["loss"].item(), rel=CLOSE)
    loss.backward()
    reached = {"pooled": case.student.pooled, "logits": case.student.logits}
    reached |= {f"stages/{i}": stage for i, stage in enumerate(case.student.stages)}
    for key, tensor in reached.items():
        golden = case.golden.get(f"grad/{key}")
        assert (tensor.grad is None) == (golden is None), key
        if golden is not None:
            assert_near(tensor.grad, golden)


def in_bf16(seen: Features) -> Features:
    """As networks under bf16 hand them over: rounded to its 8 bits, and then float32 again."""

    def rounded(x: Tensor) -> Tensor:
        return x.detach().bfloat16().float().requires_grad_(x.requires_grad)

    return Features(tuple(map(rounded, seen.stages)), rounded(seen.pooled), rounded(seen.logits))


@pytest.mark.parametrize("geometry", ["same", "cross"])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_of_bf16_networks(name, geometry):
    """Within 0.5 % and, as a vector, 5 % of the field's in float32."""
    case = Case(geometry, name)
    case.student, case.teacher = in_bf16(case.student), in_bf16(case.teacher)
    loss = case.loss()
    assert loss.item() == pytest.approx(case.golden["loss"].item(), rel=0.005)
    loss.backward()
    taps = {"pooled": case.student.pooled, "logits": case.student.logits}
    taps |= {f"stages/{i}": stage for i, stage in enumerate(case.student.stages)}
    for tensor, golden in ((taps[k], case.golden.get(f"grad/{k}")) for k in taps):
        if golden is not None:
            assert (tensor.grad - golden).norm() <= 0.05 * golden.norm()


@pytest.mark.parametrize("geometry", ["same", "cross"])
def test_memory_of_crd(geometry):
    case = Case(geometry, "crd")
    case.loss()
    crd = case.distiller
    assert_near(crd.z_s, case.golden["z_student_anchor"])
    assert_near(crd.z_t, case.golden["z_teacher_anchor"])
    assert_near(crd.bank_s.rows, case.golden["bank_s_after"])
    assert_near(crd.bank_t.rows, case.golden["bank_t_after"])
    second = case.loss()
    assert second.item() == pytest.approx(case.golden["loss_second_step"].item(), rel=CLOSE)
    assert_near(crd.z_s, case.golden["z_student_anchor"])  # set once


def test_every_golden_file_is_used():
    files = {path.stem for path in FOLDER.glob("*/*.npz")} - {"inputs"}
    assert files == set(NAMES)
