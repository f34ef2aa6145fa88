"""The contract of a distiller as checks, none of which depends on a distiller's name.

A check takes `make`, a `Subject`, which builds the distiller with a seed for its weights and
randomness.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from distillers import Batch, Distiller, Features, Incompatible, contract
from distillers.base import FeatureName, MixedBatch, reads_of_teacher
from distillers.contract import hidden, tensors_of
from tests.distillers.geometry import BATCH, STUDENT, Subject, random_features, random_student


def copy_of_state(distiller: Distiller) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in distiller.state_dict().items()}


def equal_states(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def loss_is_a_finite_scalar(make: Subject) -> None:
    loss = make(0)(random_student(), make.teacher(), BATCH)
    assert loss.shape == ()
    assert loss.isfinite()


def gradient_reaches_every_declared_feature(make: Subject) -> None:
    distiller, student = make(0), random_student()
    distiller(student, make.teacher(), BATCH).sum().backward()
    for name in distiller.reads:
        gradients = [x.grad for x in tensors_of(getattr(student, name)) if x.grad is not None]
        is_reached = any(g.abs().sum() > 0 for g in gradients) or name in contract.PARAMETERS
        assert is_reached, f"no gradient at the student's {name}"
        assert all(g.isfinite().all() for g in gradients)


def gradient_reaches_every_parameter(make: Subject) -> None:
    distiller = make(0)
    distiller(random_student(), make.teacher(), BATCH).sum().backward()
    stage = distiller.pretraining
    for name, parameter in distiller.named_parameters():
        if parameter.requires_grad and not (stage and name.split(".")[0] in stage.parameters):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def gradient_of_the_stage_reaches_its_parameters(make: Subject) -> None:
    distiller, student = make(0), random_student()
    if (stage := distiller.pretraining) is None:
        return
    distiller.pretrain(student if stage.student else None, make.teacher(), BATCH).backward()
    for prefix in stage.parameters:
        learning = [p for n, p in distiller.named_parameters() if n.split(".")[0] == prefix]
        assert learning
        assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)


def head_predicts_logits_from_declared_features(make: Subject) -> None:
    distiller = make(0).eval()
    student = random_student()
    undeclared = tuple(f.name for f in fields(Features) if f.name not in distiller.reads)
    if type(distiller).predict is Distiller.predict:
        assert distiller.predict(student) is student.logits
        return
    logits = distiller.predict(hidden(student, undeclared))
    assert logits.shape == student.logits.shape
    assert logits.isfinite().all()


def only_declared_features_are_read(make: Subject) -> None:
    distiller = make(0)
    names = [field.name for field in fields(Features)]
    student = hidden(random_student(), tuple(n for n in names if n not in distiller.reads))
    reads = reads_of_teacher(distiller)
    teacher = hidden(make.teacher(), tuple(n for n in names if n not in reads))
    clean = make(0)(random_student(), make.teacher(), BATCH)
    assert torch.equal(distiller(student, teacher, BATCH), clean)


def labels_and_indices_are_read_only_if_declared(make: Subject) -> None:
    distiller = make(0)
    targets = torch.full((len(BATCH.labels), STUDENT.logits), 1 / STUDENT.logits)
    batch: Batch = MixedBatch(BATCH.labels, BATCH.index, targets=targets)
    try:
        distiller(random_student(), make.teacher(), BATCH if distiller.needs_labels else batch)
    except Incompatible as error:
        raise AssertionError("`needs_labels` is not declared") from error


def loss_ignores_the_teacher_unless_declared(make: Subject) -> None:
    losses = [make(0)(random_student(), make.teacher(seed), BATCH) for seed in (1, 5)]
    assert make(0).uses_teacher or torch.equal(*losses)


def features_are_not_written_to(make: Subject) -> None:
    student, teacher = random_features(STUDENT, 0), make.teacher()
    versions = [x._version for x in (*tensors_of(student), *tensors_of(teacher))]
    make(0)(student, teacher, BATCH)
    assert versions == [x._version for x in (*tensors_of(student), *tensors_of(teacher))]


def global_generators_are_not_used(make: Subject) -> None:
    distiller = make(0)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    distiller(random_student(), make.teacher(), BATCH)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def evaluation_mode_changes_nothing(make: Subject) -> None:
    distiller = make(0)
    distiller(random_student(), make.teacher(), BATCH)
    distiller.eval()
    before = copy_of_state(distiller)
    first = distiller(random_student(2), make.teacher(3), BATCH)
    assert equal_states(before, copy_of_state(distiller))
    assert torch.equal(first, distiller(random_student(2), make.teacher(3), BATCH))


def state_dict_suffices_to_resume(make: Subject) -> None:
    stopped, resumed = make(0), make(1)
    stopped(random_student(2), make.teacher(3), BATCH)
    resumed.load_state_dict(copy_of_state(stopped))
    for seed in (4, 6):
        losses = [
            distiller(random_student(seed), make.teacher(seed + 1), BATCH)
            for distiller in (stopped, resumed)
        ]
        assert torch.equal(*losses)
    assert equal_states(copy_of_state(stopped), copy_of_state(resumed))


def buffers_stay_in_place(make: Subject) -> None:
    distiller = make(0)
    before = {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}
    distiller(random_student(), make.teacher(), BATCH)
    assert before == {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}


def forward_never_waits_for_the_device(make: Subject) -> None:
    contract.waits_for_device(lambda: make(0), STUDENT, make.teacher_shapes, BATCH)


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


def graph_leaves_are_features_or_parameters(make: Subject) -> None:
    distiller, student = make(0), random_student()
    allowed = {id(x) for x in (*tensors_of(student), *distiller.parameters())}
    loss = distiller(student, make.teacher(), BATCH).sum()
    assert {id(x) for x in graph_leaves(loss)} <= allowed


def loss_accepts_a_single_sample(make: Subject) -> None:
    batch = Batch(BATCH.labels[:1], BATCH.index[:1])
    student = random_features(STUDENT, 0, batch=1, grad=True)
    loss = make(0)(student, make.teacher(1, batch=1), batch)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(x.grad is None or x.grad.isfinite().all() for x in tensors_of(student))


def paper_and_formula_are_documented(make: Subject) -> None:
    cls = type(make(0))
    assert len(cls.paper) > 20
    assert any(word.isdigit() for word in cls.paper.replace(".", " ").replace(":", " ").split())
    assert "L = " in (cls.__doc__ or "")
    module = inspect.getmodule(cls)
    assert module is not None
    assert module.__doc__


def declared_names_exist(make: Subject) -> None:
    distiller = make(0)
    assert distiller.reads
    assert {*distiller.reads, *reads_of_teacher(distiller)} <= set(get_args(FeatureName))
    assert set(distiller.undecayed) <= {name for name, _ in distiller.named_parameters()}


def signature_is_a_schema(make: Subject) -> None:
    _, *options = inspect.signature(type(make(0))).parameters.values()
    for option in options:
        assert option.kind is option.KEYWORD_ONLY, option.name
        assert option.default is not option.empty, option.name
        assert option.annotation is not option.empty, option.name


CHECKS: dict[str, Callable[[Subject], None]] = {  # every function above that takes `make`
    name: function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and [*inspect.signature(function).parameters] == ["make"]
}
