"""Check the contract of a distiller, the rules in `distillers.base`, on random features.

`bench validate` checks every distiller of a suite this way. In your own tests, write
`assert not contract.violations(build, student, teacher, batch)`.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from distillers.base import Batch, Distiller, FeatureName, Features, Shapes

Build = Callable[[], Distiller]
FOREIGN = "NumPy's or Python's global generator, which no run seeds"


def random_features(shapes: Shapes, batch: int, rng: torch.Generator, *, grad: bool) -> Features:
    """Draw features from a normal distribution.

    Args:
        shapes: Shapes of a network's features.
        batch: B, the number of samples.
        rng: A generator on the CPU.
        grad: Whether the features require gradients, as a student's do.
    """

    def draw(*size: int) -> Tensor:
        return torch.randn(batch, *size, generator=rng).requires_grad_(grad)

    stages = tuple(draw(*shape) for shape in shapes.stages)
    return Features(stages, draw(shapes.pooled), draw(shapes.logits))


def violations(build: Build, student: Shapes, teacher: Shapes, batch: Batch) -> list[str]:
    """Call a distiller on random features, and list the rules of the contract that it violates.

    Args:
        build: Function that returns a new distiller for the two networks; each call must give the
            same initial parameters and random numbers.
        student: Shapes of the student's features.
        teacher: Shapes of the teacher's features.
        batch: Labels and indices (B,), on the CPU.

    Returns:
        One sentence for each violation; empty if there is none.

    Raises:
        Exception: The distiller's own code raised an error.
    """
    rng, size = torch.Generator().manual_seed(0), len(batch.labels)
    features = random_features(student, size, rng, grad=True)
    constant = random_features(teacher, size, rng, grad=False)
    distiller = build().train()
    shared = [*tensors_of(features, constant), batch.labels, batch.index]
    values = [x.detach().clone() for x in shared]
    global_state = torch.get_rng_state().tolist(), foreign_random_state()
    loss = distiller(features, constant, batch)
    if not isinstance(loss, Tensor) or loss.shape != ():
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        return [f"forward returns {shape}. Allowed: a tensor of shape (), the loss of the batch"]
    if loss.dtype != torch.float32:
        return [f"forward returns {loss.dtype}. Allowed: torch.float32, as for all losses"]
    problems = [] if bool(loss.isfinite()) else [f"the loss of random features is {loss.item()}"]
    if (torch.get_rng_state().tolist(), foreign_random_state()) != global_state:
        problems.append("forward draws from a global random generator: use self.rng")
    if not all(map(torch.equal, values, shared)):
        problems.append(
            "forward writes to features or labels, which other methods read: copy them first"
        )
    if loss.grad_fn is None:
        return [*problems, "the loss has no gradient: neither features nor parameters require one"]
    loss.backward()  # type: ignore[no-untyped-call]
    problems += _without_gradient(distiller, features)
    distiller(features, constant, batch).sum().backward()  # a second batch may fail, too
    if torch.equal(build().train()(features, constant, batch), loss):
        return [*problems, *_undeclared(build, distiller, (features, constant, batch), loss)]
    repeated = (
        "a second new distiller gives another loss for the same features: keep state in self, not "
        "in the class or in global variables"
    )
    return problems or [repeated]


def waits_for_device(build: Build, student: Shapes, teacher: Shapes, batch: Batch) -> None:
    """Raise an error if a distiller reads values of tensors.

    Each read makes the CPU wait for the GPU, so training becomes slower. The distiller is called
    with fake tensors, which have shapes but no values.

    Args:
        build: As in `violations`.
        student: As in `violations`.
        teacher: As in `violations`.
        batch: As in `violations`.

    Raises:
        Exception: The distiller reads a value, for example with `.item()` or `if loss > 0:`.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes seconds to import

    rng, size, mode = torch.Generator().manual_seed(0), len(batch.labels), FakeTensorMode()
    distiller = build().train()
    for module in distiller.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else mode.from_tensor(buffer)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(mode.from_tensor(parameter.detach()))
    student_features, teacher_features = (
        Features(
            tuple(map(mode.from_tensor, x.stages)),
            mode.from_tensor(x.pooled),
            mode.from_tensor(x.logits),
        )
        for x in (
            random_features(student, size, rng, grad=True),
            random_features(teacher, size, rng, grad=False),
        )
    )
    labels = Batch(mode.from_tensor(batch.labels), mode.from_tensor(batch.index))
    with mode:
        distiller(student_features, teacher_features, labels).sum().backward()


def foreign_random_state() -> str:
    """Return the states of NumPy's and Python's global random generators."""
    return repr((random.getstate(), [str(part) for part in np.random.get_state()]))


def tensors_of(*features: Features) -> list[Tensor]:
    """Return all tensors in one or several `Features`."""
    return [tensor for x in features for tensor in (*x.stages, x.pooled, x.logits)]


def _tensors(features: Features, name: str) -> tuple[Tensor, ...]:
    value = getattr(features, name)
    return value if isinstance(value, tuple) else (value,)


def _without_gradient(distiller: Distiller, student: Features) -> Iterator[str]:
    for name in distiller.reads:
        gradients = [x.grad for x in _tensors(student, name) if x.grad is not None]
        if not any(bool(gradient.abs().sum() > 0) for gradient in gradients):
            yield f"no gradient reaches the student's {name}, which `reads` declares"
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            yield f"the gradient of the student's {name} is not finite"
    for key, parameter in distiller.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            yield f"no gradient reaches the parameter {key}"


def _undeclared(
    build: Build, distiller: Distiller, inputs: tuple[Features, Features, Batch], loss: Tensor
) -> Iterator[str]:
    """Yield a sentence for each feature that changes the loss but is not listed in `reads`.

    Each feature that `reads` does not list is replaced by NaN; the loss must stay the same.
    """
    student, teacher, batch = inputs
    names: tuple[str, ...] = get_args(FeatureName)
    for name in names:
        if name in distiller.reads:
            continue

        def hide(features: Features, name: str = name) -> Features:
            nan = tuple(x.detach() * torch.nan for x in _tensors(features, name))
            changes: dict[str, Any] = {name: nan if name == "stages" else nan[0]}
            return replace(features, **changes)

        if not torch.equal(build().train()(hide(student), hide(teacher), batch), loss):
            yield f"forward uses {name}, which `reads` does not declare"
    if not distiller.uses_teacher:
        nothing = Features(
            tuple(x * torch.nan for x in teacher.stages),
            teacher.pooled * torch.nan,
            teacher.logits * torch.nan,
        )
        if not torch.equal(build().train()(student, nothing, batch), loss):
            yield "forward uses the teacher's features, but `uses_teacher` is False"
