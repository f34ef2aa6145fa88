"""Losses and gradients of the papers' methods equal those of the reference code on fixed inputs."""

import pytest
import torch

from distillers import Features
from tests.distillers.golden import GEOMETRIES, RELATIVE_TOLERANCE, Case, assert_near

NAMES = ("kd", "fitnet", "at", "sp", "cc", "rkd", "pkt", "crd", "dcd")


def build(geometry: str, name: str) -> Case:
    """Return a case with the reference's initial weights and memory banks."""
    case = Case(geometry, name)
    case.load_parameters()
    for side in ("s", "t"):
        if f"bank_{side}_before" in case.golden:
            with torch.no_grad():
                bank = getattr(case.distiller, f"bank_{side}")
                bank.rows.copy_(case.golden[f"bank_{side}_before"])
    return case


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_equal_the_reference(name, geometry):
    build(geometry, name).assert_equal()


def in_bf16(features: Features) -> Features:
    """Round features to bf16 and back to float32, as networks under bf16 return them."""
    return features.map(lambda x: x.detach().bfloat16().float().requires_grad_(x.requires_grad))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_are_close_to_the_reference_in_bf16(name, geometry):
    """The loss is within 0.5 %, the gradient as a vector within 5 %, of float32."""
    case = build(geometry, name)
    case.student, case.teacher = in_bf16(case.student), in_bf16(case.teacher)
    loss = case.loss()
    assert loss.item() == pytest.approx(case.golden["loss"].item(), rel=0.005)
    loss.backward()
    for key, tensor in case.student_tensors().items():
        golden = case.golden.get(f"grad/{key}")
        if golden is not None:
            assert (tensor.grad - golden).norm() <= 0.05 * golden.norm()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_memory_banks_of_crd_equal_the_reference(geometry):
    case = build(geometry, "crd")
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
