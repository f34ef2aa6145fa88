"""The attribute `relational` says what the mathematics does."""

import pytest
import torch
from torch import Tensor

import distillers
from tests.distillers.geometry import BATCH, STUDENT, B, Subject, random_features

# crd's first batch sets a constant, rrd's queue of thousands of rows includes the batch, and srd
# takes the logarithm of a sum: one sample scales the gradient of the others.
COUPLED = {"crd", "rrd", "srd"}


def direction(name: str, *, changed: bool) -> Tensor:
    """Return the gradient of the second sample's features; the first sample may be changed."""

    def other(x: Tensor) -> Tensor:
        first = torch.arange(B).view(B, *[1] * (x.dim() - 1)) == 0
        return torch.where(first, 0.3 - 1.7 * x, x) if changed and len(x) == B else x

    subject = Subject(distillers.load(name))
    student = random_features(STUDENT, 3).map(lambda x: other(x).clone().requires_grad_())
    subject(0).eval()(student, subject.teacher(4).map(other), BATCH).backward()
    rows = [x.grad[1] for x in student.tensors() if x.grad is not None and len(x) == B]
    gradient = torch.cat([row.flatten() for row in rows])
    return gradient / gradient.norm()


@pytest.mark.parametrize("name", sorted(set(distillers.names()) - COUPLED))
def test_only_relational_losses_compare_the_samples_of_a_batch(name: str) -> None:
    before, after = (direction(name, changed=changed) for changed in (False, True))
    is_same = torch.allclose(before, after, rtol=1e-4, atol=1e-5)
    assert distillers.load(name).relational is not is_same


def test_coupled_losses_are_not_relational() -> None:
    assert not any(distillers.load(name).relational for name in COUPLED)
