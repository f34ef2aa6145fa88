"""The contract of a distiller, checked on random features of two networks.

`bench validate` checks every distiller of a suite this way. For your own tests:
`assert contract.check(MyDistiller) == []`.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillers.base import (
    Affine,
    Batch,
    Distiller,
    Features,
    Incompatible,
    MixedBatch,
    Setting,
    Shapes,
    has_head,
    reads_of_teacher,
)

Build = Callable[[], Distiller]
PARAMETERS = ("classifier", "norms")  # fields that hold parameters of a network, not features
STUDENT, TEACHER = (  # two small networks with three stages, and with all optional features
    Shapes(
        stages,
        pooled,
        logits=7,
        preactivations=stages,
        stem=(4, 12, 8),
        pooled_map=(pooled, 3, 2),
        classifier=True,
        norms=tuple(channels for channels, *_ in stages),
        distilled=True,
    )
    for pooled, stages in (
        (11, ((3, 12, 8), (23, 6, 4), (11, 3, 2))),
        (13, ((2, 12, 8), (29, 6, 4), (13, 3, 2))),
    )
)
LABELS = torch.arange(53) * 3 % STUDENT.logits  # of the training set
INDEX = torch.tensor([2, 51, 17, 30, 8])
BATCH = Batch(LABELS[INDEX], INDEX)
FOREIGN = "NumPy's or Python's global generator, which no run seeds"


def random_features(shapes: Shapes, batch: int, rng: torch.Generator, *, grad: bool) -> Features:
    """Draw features from a normal distribution.

    Args:
        shapes: Shapes of a network's features; a field without a shape is not drawn.
        batch: B, the number of samples.
        rng: A generator on the CPU.
        grad: Whether the features require gradients, as a student's do.
    """

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=rng).requires_grad_(grad)

    def view() -> Features:
        stages = tuple(draw(batch, *shape) for shape in shapes.stages)
        return Features(stages, draw(batch, shapes.pooled), draw(batch, shapes.logits))

    features, optional = view(), dict[str, Any]()
    optional["preactivations"] = tuple(draw(batch, *shape) for shape in shapes.preactivations)
    for name in ("stem", "pooled_map"):
        if (shape := getattr(shapes, name)) is not None:
            optional[name] = draw(batch, *shape)
    if shapes.classifier:
        optional["classifier"] = Affine(draw(shapes.logits, shapes.pooled), draw(shapes.logits))
    optional["norms"] = tuple(Affine(draw(width), draw(width)) for width in shapes.norms)
    optional["strong"] = view()
    if shapes.distilled:
        optional["distilled"] = draw(batch, shapes.logits)
    return replace(features, **optional)


def check(distiller: type[Distiller], **options: Any) -> list[str]:
    """Check a distiller on two small networks, as a test of its author does.

    The networks are `STUDENT` and `TEACHER`, or twice `STUDENT` for a distiller that needs equal
    shapes; the training set has 53 samples. In addition to `violations`, this function checks the
    class's documentation and options, evaluation mode, resumption, and a batch of one sample.

    Args:
        distiller: The distiller's class.
        **options: Options of the distiller; numbers of samples must be small.

    Returns:
        One sentence for each violation; empty if there is none.

    Raises:
        Incompatible: The distiller does not fit these networks.
        Exception: The distiller's own code fails.
    """

    def build(seed: int = 0, teacher: Shapes = TEACHER) -> Distiller:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            setting = Setting(STUDENT, teacher, LABELS, torch.Generator().manual_seed(seed))
            return distiller(setting, **options).train()

    try:
        build()
        shapes = TEACHER
    except Incompatible:
        shapes = STUDENT
    problems = list(_of_class(distiller))
    problems += violations(lambda: build(0, shapes), STUDENT, shapes, BATCH)
    if problems:
        return problems

    def inputs(seed: int, size: int = len(INDEX)) -> tuple[Features, Features]:
        rng = torch.Generator().manual_seed(seed)
        student = random_features(STUDENT, size, rng, grad=True)
        return student, random_features(shapes, size, rng, grad=False)

    problems += _of_parameters(build(0, shapes), *inputs(0))
    problems += _of_state(lambda seed: build(seed, shapes), inputs)
    loss = build(0, shapes)(*inputs(0, 1), Batch(BATCH.labels[:1], BATCH.index[:1]))
    if not bool(loss.isfinite()):
        problems.append(f"the loss of a batch of one sample is {loss.item()}. Allowed: finite")
    targets = torch.full((len(INDEX), STUDENT.logits), 1 / STUDENT.logits)
    try:
        if not distiller.needs_labels:
            build(0, shapes)(*inputs(0), MixedBatch(BATCH.labels, BATCH.index, targets=targets))
    except Incompatible:
        problems.append("forward uses batch.labels or batch.index: declare needs_labels = True")
    try:
        waits_for_device(lambda: build(0, shapes), STUDENT, shapes, BATCH)
    except Exception as error:
        problems.append(f"forward waits for the device: {type(error).__name__}: {error}")
    return problems


def violations(build: Build, student: Shapes, teacher: Shapes, batch: Batch) -> list[str]:
    """Call a distiller on random features, and return its violations of the contract.

    Args:
        build: Returns a new distiller for the two networks, each time with the same initial
            parameters and random state.
        student: Shapes of the student's features.
        teacher: Shapes of the teacher's features.
        batch: Labels and indices (B,), on the CPU.

    Returns:
        One sentence for each violation; empty if there is none.

    Raises:
        Exception: The distiller's own code fails.
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
    problems = [] if bool(loss.isfinite()) else [f"the loss is {loss.item()}. Allowed: finite"]
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
    distiller(features, constant, batch).sum().backward()  # reveals errors of a second batch
    if not torch.equal(build().train()(features, constant, batch), loss):
        repeated = (
            "a second new distiller returns a different loss for the same features: keep state in "
            "self, not in the class or in global variables"
        )
        return problems or [repeated]
    inputs = features, constant, batch
    problems += _undeclared(build, distiller, inputs, loss)
    problems += _of_stage(build, inputs)
    problems += _of_head(distiller, features)
    return problems


def waits_for_device(build: Build, student: Shapes, teacher: Shapes, batch: Batch) -> None:
    """Raise an error if a distiller's code reads the value of a tensor.

    Each such read makes the CPU wait for the GPU, so training becomes slower. The distiller is
    called with fake tensors, which have shapes but no values.

    Args:
        build: As in `violations`.
        student: As in `violations`.
        teacher: As in `violations`.
        batch: As in `violations`.

    Raises:
        Exception: The distiller reads a value, for example by `.item()` or `if loss > 0:`.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes seconds to import

    rng, size, mode = torch.Generator().manual_seed(0), len(batch.labels), FakeTensorMode()
    distiller = build().train()
    for module in distiller.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else mode.from_tensor(buffer)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter.detach())
                module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
    student_features, teacher_features = (
        random_features(shapes, size, rng, grad=grad).map(mode.from_tensor)
        for shapes, grad in ((student, True), (teacher, False))
    )
    labels = Batch(mode.from_tensor(batch.labels), mode.from_tensor(batch.index))
    with mode:
        distiller(student_features, teacher_features, labels).sum().backward()


def foreign_random_state() -> str:
    """Return the states of NumPy's and Python's global random generators."""
    return repr((random.getstate(), [str(part) for part in np.random.get_state()]))


def tensors_of(*values: Any) -> list[Tensor]:
    """Return all tensors in the values: tensors, layers, features, or tuples of these."""
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, tuple):
            tensors += tensors_of(*value)
        elif isinstance(value, Features | Affine):
            tensors += tensors_of(*(getattr(value, field.name) for field in fields(value)))
    return tensors


def hidden(features: Features, names: Iterator[str] | tuple[str, ...]) -> Features:
    """Return features with NaN in place of the numbers of some fields."""
    nan = features.map(lambda x: x.detach() * torch.nan)
    return replace(features, **{name: getattr(nan, name) for name in names})


def _without_gradient(distiller: Distiller, student: Features) -> Iterator[str]:
    for name in distiller.reads:
        tensors = tensors_of(getattr(student, name))
        gradients = [x.grad for x in tensors if x.grad is not None]
        reached = any(bool(gradient.abs().sum() > 0) for gradient in gradients)
        if not reached and name not in PARAMETERS:
            yield f"no gradient reaches the student's {name}, which `reads` declares"
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            yield f"the gradient of the student's {name} is not finite"
    stage = distiller.pretraining
    for key, parameter in distiller.named_parameters():
        is_of_stage = stage is not None and key.split(".")[0] in stage.parameters
        if parameter.requires_grad and parameter.grad is None and not is_of_stage:
            yield f"no gradient reaches the parameter {key}"


def _undeclared(
    build: Build, distiller: Distiller, inputs: tuple[Features, Features, Batch], loss: Tensor
) -> Iterator[str]:
    """Yield a sentence for each feature that changes the loss but is not listed in `reads`.

    Each feature that `reads` does not list is replaced by NaN; the loss must stay the same.
    """
    student, teacher, batch = inputs
    for field in fields(Features):
        names = (field.name,)
        student_names = () if field.name in distiller.reads else names
        teacher_names = () if field.name in reads_of_teacher(distiller) else names
        views = hidden(student, student_names), hidden(teacher, teacher_names)
        if (student_names or teacher_names) and not torch.equal(
            build().train()(*views, batch), loss
        ):
            yield f"forward uses {field.name}, which `reads` does not declare"
    if not distiller.uses_teacher:
        nothing = hidden(teacher, tuple(field.name for field in fields(Features)))
        if not torch.equal(build().train()(student, nothing, batch), loss):
            yield "forward uses the teacher's features, but `uses_teacher` is False"


def _of_stage(build: Build, inputs: tuple[Features, Features, Batch]) -> Iterator[str]:
    """Yield a sentence for each fault of the stage before training."""
    distiller, (student, teacher, batch) = build().train(), inputs
    if (stage := distiller.pretraining) is None:
        return
    loss = distiller.pretrain(student if stage.student else None, teacher, batch)  # type: ignore[arg-type]
    if loss.shape != () or not bool(loss.isfinite()):
        yield f"pretrain returns {loss}. Allowed: a finite tensor of shape ()"
        return
    loss.backward()  # type: ignore[no-untyped-call]
    for prefix in stage.parameters:
        learning = [
            parameter
            for name, parameter in distiller.named_parameters()
            if name == prefix or name.startswith(f"{prefix}.")
        ]
        if any(parameter.grad is None for parameter in learning):
            yield f"no gradient of `pretrain` reaches the parameters {prefix}"


def _of_head(distiller: Distiller, student: Features) -> Iterator[str]:
    """Yield a sentence if the head that replaces the student's classifier returns wrong logits."""
    if not has_head(type(distiller)):
        return
    read = hidden(student, tuple(f.name for f in fields(Features) if f.name not in distiller.reads))
    logits = distiller.eval().predict(read)
    if logits.shape != student.logits.shape or not bool(logits.isfinite().all()):
        allowed = tuple(student.logits.shape)
        yield f"predict returns {tuple(logits.shape)}. Allowed: finite logits {allowed}"


def _of_class(distiller: type[Distiller]) -> Iterator[str]:
    """Yield a sentence for each missing part of the documentation, and for each invalid option."""
    if "L = " not in (distiller.__doc__ or ""):
        yield "the class docstring has no formula. Allowed: a docstring with `L = …`"
    if not any(character.isdigit() for character in distiller.paper):
        yield "paper has no year. Allowed: authors, title, venue, year and arXiv number"
    _self, _setting, *parameters = inspect.signature(distiller.__init__).parameters.values()
    for option in parameters:
        kinds = {option.default, option.annotation} & {option.empty}
        if kinds or option.kind is not option.KEYWORD_ONLY:
            yield f"the option {option.name} needs a default and a type, and to follow `*`"


def _of_parameters(distiller: Distiller, student: Features, teacher: Features) -> Iterator[str]:
    """Yield a sentence for unknown names in `undecayed`, and for tensors that nobody trains."""
    names = {name for name, _ in distiller.named_parameters()}
    for name in sorted({*distiller.undecayed} - names):
        yield f"undecayed names {name}. Allowed: {', '.join(sorted(names)) or 'no parameter'}"
    trained = {id(tensor) for tensor in (*tensors_of(student), *distiller.parameters())}
    visited: set[Any] = set()
    nodes: list[Any] = [distiller(student, teacher, BATCH).grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in visited:
            visited.add(node)
            nodes += [parent for parent, _ in node.next_functions]
    leaves = [node.variable for node in visited if hasattr(node, "variable")]
    if any(id(leaf) not in trained for leaf in leaves):
        yield "a gradient flows to a tensor that is neither a feature nor a parameter"


def _of_state(
    build: Callable[[int], Distiller], inputs: Callable[[int], tuple[Features, Features]]
) -> Iterator[str]:
    """Yield a sentence for each fault of evaluation mode, of buffers and of a resumed training."""
    distiller = build(0)
    places = {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}
    distiller(*inputs(2), BATCH)
    if places != {name: buffer.data_ptr() for name, buffer in distiller.named_buffers()}:
        yield "forward replaces a buffer. Allowed: writing into it, for example by copy_"
    resumed = build(1)
    resumed.load_state_dict({k: v.clone() for k, v in distiller.state_dict().items()})
    if not torch.equal(resumed(*inputs(4), BATCH), distiller(*inputs(4), BATCH)):
        yield "a resumed distiller returns another loss: keep all state in parameters and buffers"
    before = {name: value.clone() for name, value in distiller.eval().state_dict().items()}
    losses = [distiller(*inputs(6), BATCH) for _ in range(2)]
    after = distiller.state_dict()
    if not torch.equal(*losses) or not all(torch.equal(before[k], after[k]) for k in before):
        yield "forward changes the distiller in evaluation mode"
