"""What every distiller promises, as checks that know no distiller by name.

A check takes `make`, which builds the distiller with a seed for its weights and randomness.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from distillers import Batch, Distiller, Features
from distillers._base import Tap
from tests.distillers.geometry import (
    BATCH,
    STUDENT,
    TEACHER,
    features,
    of_tap,
    student,
    teacher,
    tensors,
)

Make = Callable[[int], Distiller]


def state(distiller: Distiller) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in distiller.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def loss_is_a_finite_scalar(make: Make) -> None:
    loss = make(0)(student(), teacher(), BATCH)
    assert loss.shape == ()
    assert loss.isfinite()


def gradient_reaches_all_that_is_read(make: Make) -> None:
    distiller, seen = make(0), student()
    distiller(seen, teacher(), BATCH).sum().backward()
    for tap in distiller.reads:
        gradients = [x.grad for x in of_tap(seen, tap) if x.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients), f"none at the student's {tap}"
        assert all(g.isfinite().all() for g in gradients)


def gradient_reaches_every_parameter(make: Make) -> None:
    distiller = make(0)
    distiller(student(), teacher(), BATCH).sum().backward()
    for name, parameter in distiller.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def only_declared_fields_are_read(make: Make) -> None:
    distiller = make(0)

    def poisoned(seen: Features) -> Features:
        hidden = [f.name for f in fields(seen) if f.name not in distiller.reads]
        nan = {name: tuple(x.detach() * torch.nan for x in of_tap(seen, name)) for name in hidden}
        return replace(seen, **{k: v if k == "stages" else v[0] for k, v in nan.items()})

    clean = make(0)(student(), teacher(), BATCH)
    assert torch.equal(distiller(poisoned(student()), poisoned(teacher()), BATCH), clean)


def an_untaught_distiller_ignores_the_teacher(make: Make) -> None:
    losses = [make(0)(student(), features(TEACHER, seed), BATCH) for seed in (1, 5)]
    assert make(0).taught or torch.equal(*losses)


def networks_tensors_are_not_written_to(make: Make) -> None:
    s, t = features(STUDENT, 0), teacher()
    versions = [x._version for x in (*tensors(s), *tensors(t))]
    make(0)(s, t, BATCH)
    assert versions == [x._version for x in (*tensors(s), *tensors(t))]


def global_generators_are_left_alone(make: Make) -> None:
    distiller = make(0)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    distiller(student(), teacher(), BATCH)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def evaluation_is_pure(make: Make) -> None:
    distiller = make(0)
    distiller(student(), teacher(), BATCH)
    distiller.eval()
    before = state(distiller)
    first = distiller(student(2), teacher(3), BATCH)
    assert same(before, state(distiller))
    assert torch.equal(first, distiller(student(2), teacher(3), BATCH))


def state_dict_is_all_there_is_to_resume(make: Make) -> None:
    stopped, fresh = make(0), make(1)
    stopped(student(2), teacher(3), BATCH)
    fresh.load_state_dict(state(stopped))
    for seed in (4, 6):
        losses = [d(student(seed), teacher(seed + 1), BATCH) for d in (stopped, fresh)]
        assert torch.equal(*losses)
    assert same(state(stopped), state(fresh))


def buffers_stay_in_place(make: Make) -> None:
    distiller = make(0)
    before = {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}
    distiller(student(), teacher(), BATCH)
    assert before == {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}


def device_is_never_waited_for(make: Make) -> None:
    distiller, mode = make(0), FakeTensorMode()
    for module in distiller.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = mode.from_tensor(buffer)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(mode.from_tensor(parameter.detach()))

    def faked(seen: Features) -> Features:
        stages = tuple(mode.from_tensor(x) for x in seen.stages)
        return Features(stages, mode.from_tensor(seen.pooled), mode.from_tensor(seen.logits))

    batch = Batch(mode.from_tensor(BATCH.labels), mode.from_tensor(BATCH.index))
    with mode:
        distiller(faked(student()), faked(teacher()), batch).sum().backward()


def leaves(loss: Tensor) -> Iterator[Tensor]:
    """The tensors that the loss could be differentiated for."""
    seen, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        todo += [following for following, _ in node.next_functions]


def leaves_are_inputs_or_parameters(make: Make) -> None:
    distiller, seen = make(0), student()
    known = {id(x) for x in (*tensors(seen), *distiller.parameters())}
    assert {id(x) for x in leaves(distiller(seen, teacher(), BATCH).sum())} <= known


def a_single_sample_is_enough(make: Make) -> None:
    one = Batch(BATCH.labels[:1], BATCH.index[:1])
    seen = features(STUDENT, 0, batch=1, grad=True)
    loss = make(0)(seen, features(TEACHER, 1, batch=1), one)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(x.grad is None or x.grad.isfinite().all() for x in tensors(seen))


def paper_and_formula_are_told(make: Make) -> None:
    kind = type(make(0))
    assert len(kind.paper) > 20
    assert any(year.isdigit() for year in kind.paper.replace(".", " ").replace(":", " ").split())
    assert "L = " in (kind.__doc__ or "")
    module = inspect.getmodule(kind)
    assert module is not None
    assert module.__doc__


def declarations_are_true(make: Make) -> None:
    distiller = make(0)
    assert distiller.reads
    assert set(distiller.reads) <= set(get_args(Tap))
    assert set(distiller.undecayed) <= {name for name, _ in distiller.named_parameters()}


def signature_is_a_schema(make: Make) -> None:
    _, *rest = inspect.signature(type(make(0))).parameters.values()
    for option in rest:
        assert option.kind is option.KEYWORD_ONLY, option.name
        assert option.default is not option.empty, option.name
        assert option.annotation is not option.empty, option.name


CHECKS: dict[str, Callable[[Make], None]] = {  # every function above that takes `make`
    name: function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and [*inspect.signature(function).parameters] == ["make"]
}
