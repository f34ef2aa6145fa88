"""The contract of a distiller as checks, none of which depends on a distiller's name.

A check takes `make`, which builds the distiller with a seed for its weights and randomness.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from distillers import Batch, Distiller, Features, contract
from distillers.base import FeatureName
from tests.distillers.geometry import (
    BATCH,
    STUDENT,
    TEACHER,
    random_features,
    random_student,
    random_teacher,
    tensors_in,
    tensors_named,
)

Make = Callable[[int], Distiller]


def copy_of_state(distiller: Distiller) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in distiller.state_dict().items()}


def equal_states(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def loss_is_a_finite_scalar(make: Make) -> None:
    loss = make(0)(random_student(), random_teacher(), BATCH)
    assert loss.shape == ()
    assert loss.isfinite()


def gradient_reaches_every_declared_feature(make: Make) -> None:
    distiller, student = make(0), random_student()
    distiller(student, random_teacher(), BATCH).sum().backward()
    for name in distiller.reads:
        gradients = [x.grad for x in tensors_named(student, name) if x.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients), f"no gradient at the student's {name}"
        assert all(g.isfinite().all() for g in gradients)


def gradient_reaches_every_parameter(make: Make) -> None:
    distiller = make(0)
    distiller(random_student(), random_teacher(), BATCH).sum().backward()
    for name, parameter in distiller.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def only_declared_features_are_read(make: Make) -> None:
    distiller = make(0)

    def poison(features: Features) -> Features:
        """Replace every field that the distiller does not declare by NaN."""
        hidden = [f.name for f in fields(features) if f.name not in distiller.reads]
        nan = {
            name: tuple(x.detach() * torch.nan for x in tensors_named(features, name))
            for name in hidden
        }
        return replace(features, **{k: v if k == "stages" else v[0] for k, v in nan.items()})

    clean = make(0)(random_student(), random_teacher(), BATCH)
    assert torch.equal(distiller(poison(random_student()), poison(random_teacher()), BATCH), clean)


def loss_ignores_the_teacher_unless_declared(make: Make) -> None:
    losses = [make(0)(random_student(), random_features(TEACHER, seed), BATCH) for seed in (1, 5)]
    assert make(0).uses_teacher or torch.equal(*losses)


def features_are_not_written_to(make: Make) -> None:
    student, teacher = random_features(STUDENT, 0), random_teacher()
    versions = [x._version for x in (*tensors_in(student), *tensors_in(teacher))]
    make(0)(student, teacher, BATCH)
    assert versions == [x._version for x in (*tensors_in(student), *tensors_in(teacher))]


def global_generators_are_not_used(make: Make) -> None:
    distiller = make(0)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    distiller(random_student(), random_teacher(), BATCH)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def evaluation_mode_changes_nothing(make: Make) -> None:
    distiller = make(0)
    distiller(random_student(), random_teacher(), BATCH)
    distiller.eval()
    before = copy_of_state(distiller)
    first = distiller(random_student(2), random_teacher(3), BATCH)
    assert equal_states(before, copy_of_state(distiller))
    assert torch.equal(first, distiller(random_student(2), random_teacher(3), BATCH))


def state_dict_suffices_to_resume(make: Make) -> None:
    stopped, resumed = make(0), make(1)
    stopped(random_student(2), random_teacher(3), BATCH)
    resumed.load_state_dict(copy_of_state(stopped))
    for seed in (4, 6):
        losses = [
            distiller(random_student(seed), random_teacher(seed + 1), BATCH)
            for distiller in (stopped, resumed)
        ]
        assert torch.equal(*losses)
    assert equal_states(copy_of_state(stopped), copy_of_state(resumed))


def buffers_stay_in_place(make: Make) -> None:
    distiller = make(0)
    before = {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}
    distiller(random_student(), random_teacher(), BATCH)
    assert before == {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}


def forward_never_waits_for_the_device(make: Make) -> None:
    contract.waits_for_device(lambda: make(0), STUDENT, TEACHER, BATCH)


def graph_leaves(loss: Tensor) -> Iterator[Tensor]:
    """Yield the tensors for which the loss could be differentiated."""
    visited, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        todo += [next_node for next_node, _ in node.next_functions]


def graph_leaves_are_features_or_parameters(make: Make) -> None:
    distiller, student = make(0), random_student()
    allowed = {id(x) for x in (*tensors_in(student), *distiller.parameters())}
    loss = distiller(student, random_teacher(), BATCH).sum()
    assert {id(x) for x in graph_leaves(loss)} <= allowed


def loss_accepts_a_single_sample(make: Make) -> None:
    batch = Batch(BATCH.labels[:1], BATCH.index[:1])
    student = random_features(STUDENT, 0, batch=1, grad=True)
    loss = make(0)(student, random_features(TEACHER, 1, batch=1), batch)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(x.grad is None or x.grad.isfinite().all() for x in tensors_in(student))


def paper_and_formula_are_documented(make: Make) -> None:
    cls = type(make(0))
    assert len(cls.paper) > 20
    assert any(word.isdigit() for word in cls.paper.replace(".", " ").replace(":", " ").split())
    assert "L = " in (cls.__doc__ or "")
    module = inspect.getmodule(cls)
    assert module is not None
    assert module.__doc__


def declared_names_exist(make: Make) -> None:
    distiller = make(0)
    assert distiller.reads
    assert set(distiller.reads) <= set(get_args(FeatureName))
    assert set(distiller.undecayed) <= {name for name, _ in distiller.named_parameters()}


def signature_is_a_schema(make: Make) -> None:
    _, *options = inspect.signature(type(make(0))).parameters.values()
    for option in options:
        assert option.kind is option.KEYWORD_ONLY, option.name
        assert option.default is not option.empty, option.name
        assert option.annotation is not option.empty, option.name


CHECKS: dict[str, Callable[[Make], None]] = {  # every function above that takes `make`
    name: function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and [*inspect.signature(function).parameters] == ["make"]
}
