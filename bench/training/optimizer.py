"""The optimiser, learning rates and moving average of weights that a recipe sets."""

import inspect
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from bench import models
from bench.spec import UNCAPTURED, Recipe

MOMENTUM = "momentum_buffer"  # stored in `momentum`, a group of tensors of a checkpoint
STEP = "step"
ADAM = frozenset({"exp_avg", "exp_avg_sq"})
Kind = TypeVar("Kind", bound=Optimizer)


def without_compiler(kind: type[Kind]) -> type[Kind]:
    """Return a class of optimisers with the same arithmetic, without torch's compiler.

    torch decorates methods of its optimisers for `torch.compile`. The decorators import the
    compiler, which takes about as long as importing torch, although nothing here is compiled. The
    returned class has the same methods without these decorators.

    Args:
        kind: A class of optimisers, such as `torch.optim.SGD`.
    """
    names = ("step", "zero_grad", "add_param_group", "state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])  # as a removed decorator did
    return type(kind.__name__, (kind,), methods)


SGD, AdamW = without_compiler(optim.SGD), without_compiler(optim.AdamW)
# Tensors kept for each parameter; an optimiser that is not listed here (LAMB) keeps those of ADAM.
STATES = {SGD: frozenset({MOMENTUM}), AdamW: ADAM | {STEP}}
GROUP = "group."  # start of the names of tensors that an optimiser keeps for a parameter group


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1.

    During the warmup, the rate is lr · epoch / warmup. Afterwards, the schedule `step` gives
    lr · decay^n, where n is the number of milestones before the epoch. The schedule `cosine` gives
    min_lr + (lr − min_lr) (1 + cos(π (epoch − 1) / epochs)) / 2, as in timm.
    """
    if epoch <= recipe.warmup:
        return float(recipe.lr * epoch / recipe.warmup)
    if recipe.schedule == "cosine":
        wave = 1 + math.cos(math.pi * (epoch - 1) / recipe.epochs)
        return float(recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * wave)
    passed = sum(epoch > milestone for milestone in recipe.milestones)
    return float(recipe.lr * recipe.decay**passed)


def build(
    recipe: Recipe,
    net: nn.Module | None,
    added: Sequence[nn.Parameter],
    exempt: set[nn.Parameter],
    *,
    fused: bool,
    captured: bool,
) -> Optimizer:
    """Return the optimiser of a recipe.

    Args:
        recipe: The training settings.
        net: The network; None if only the distillers' parameters are trained.
        added: Parameters of distillers, trained together with the network.
        exempt: Parameters without weight decay.
        fused: Whether one kernel updates all parameters; the learning rates are then tensors.
        captured: Whether a CUDA graph repeats the optimiser's steps.
    """
    groups, lr = _groups(recipe, net, added, exempt), recipe.lr
    if recipe.optimizer in UNCAPTURED:
        from timm.optim import Lamb  # type: ignore[attr-defined]

        max_norm = None if recipe.clip else 1.0
        lamb: Optimizer = without_compiler(Lamb)(groups, lr, max_grad_norm=max_norm)
        return lamb
    if recipe.optimizer == "adamw":
        optimizer: Optimizer = AdamW(groups, lr, fused=fused, capturable=captured)
    else:
        ways = {"fused": fused, "foreach": not fused}  # on a CPU, both ways of it round alike
        optimizer = SGD(groups, lr, recipe.momentum, nesterov=recipe.nesterov, **ways)
    for group in optimizer.param_groups if fused else ():
        group["lr"] = torch.zeros((), device=group["params"][0].device)
    return optimizer


def _groups(
    recipe: Recipe,
    net: nn.Module | None,
    added: Sequence[nn.Parameter],
    exempt: set[nn.Parameter],
) -> list[dict[str, Any]]:
    """Return groups of parameters, each with a weight decay and a factor of the learning rate."""
    groups: list[dict[str, Any]] = []
    if net is not None and recipe.layer_decay != 1:
        groups += models.layer_groups(net, recipe.layer_decay, recipe.weight_decay)
    elif net is not None:
        added = [*net.parameters(), *added]
    for weight_decay, is_exempt in ((recipe.weight_decay, False), (0.0, True)):
        if parameters := [p for p in added if (p in exempt) == is_exempt]:
            groups.append({"params": parameters, "weight_decay": weight_decay, "lr_scale": 1.0})
    return groups


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of the next steps: in each group, `lr` times the group's `lr_scale`."""
    for group in optimizer.param_groups:
        rate = lr * group["lr_scale"]
        group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate


def parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """Return all parameters of an optimiser; in `state`, parameter i is the i-th of this list."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def state(optimizer: Optimizer) -> dict[str, dict[str, Tensor]]:
    """Return the optimiser's tensors as two groups of a checkpoint, `momentum` and `optimizer`.

    A tensor's name in `momentum` is I, the index of a parameter in the list `parameters`. A name in
    `optimizer` is `I.NAME` for a tensor of parameter I, or `group.J.NAME` for a tensor of the
    parameter group J; the indices start at 0.
    """
    momentum, others = {}, {}
    for position, tensors in optimizer.state_dict()["state"].items():
        for name, value in tensors.items():
            if name == MOMENTUM and value is not None:
                momentum[str(position)] = value
            elif value is not None:
                others[f"{position}.{name}"] = value
    for position, group in enumerate(optimizer.param_groups):
        if STEP in group:
            others[f"{GROUP}{position}.{STEP}"] = group[STEP]
    return {"momentum": momentum, "optimizer": others}


def restore(optimizer: Optimizer, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Restore an optimiser from the two groups of tensors that `state` returned.

    Raises:
        ValueError: The shapes of a tensor and its parameter differ, or tensors are missing.
    """
    momentum = {f"{position}.{MOMENTUM}": x for position, x in parts.get("momentum", {}).items()}
    states: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in {**momentum, **parts.get("optimizer", {})}.items():
        place, _, name = key.rpartition(".")
        if place.startswith(GROUP):
            group = optimizer.param_groups[int(place.removeprefix(GROUP))]
            group[name] = _restored(key, value, torch.zeros(()))
        else:
            states[int(place)][name] = value
    owners = parameters(optimizer)
    for position, tensors in states.items():
        if tensors.keys() != STATES.get(type(optimizer), ADAM):
            names = ", ".join(sorted(tensors))
            raise ValueError(f"the state of parameter {position} has {names}, unlike the optimiser")
        parameter = owners[position]
        is_fused = optimizer.param_groups[0].get("fused")
        step = torch.zeros((), device=parameter.device if is_fused else "cpu")
        for name, value in tensors.items():
            like = step if name == STEP else parameter
            place = f"{name} of parameter {position}"
            optimizer.state[parameter][name] = _restored(place, value, like)


def _restored(place: str, value: Tensor, like: Tensor) -> Tensor:
    """Return a copy of `value` with the device and memory format of the tensor `like`.

    Raises ValueError if `value` and `like` differ in shape; the message names the tensor `place`.
    """
    if like.shape != value.shape:
        raise ValueError(f"the {place} has another shape than in the optimiser")
    return torch.empty_like(like).copy_(value)


class Average:
    """The exponential moving average a of weights w: after each step, a ← d a + (1 − d) w.

    Buffers, such as the statistics of batch norm, and frozen weights are not averaged.

    Args:
        model: The network.
        decay: The factor d.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._names = [name for name, _ in named]
        self._weights = [parameter for _, parameter in named]
        self._averages = [parameter.detach().clone() for parameter in self._weights]
        self._decay = decay

    @torch.no_grad()
    def step(self) -> None:
        """Update the average with the present weights."""
        torch._foreach_lerp_(self._averages, list(self._weights), 1 - self._decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the network's weights by the averages inside a `with` block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.data, average.data = average.data, weight.data

    def state(self) -> dict[str, Tensor]:
        """Return the averages by name."""
        return dict(zip(self._names, self._averages, strict=True))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore the averages; raise ValueError if names or shapes do not fit the network."""
        averages = self.state()
        if state.keys() != averages.keys():
            raise ValueError("the averaged weights are those of another network")
        for name, value in state.items():
            if value.shape != averages[name].shape:
                raise ValueError(f"the average of {name} has another shape than the weight")
            averages[name].copy_(value)
