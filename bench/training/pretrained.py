"""Load trained weights from files that other programs wrote, in PyTorch's format or safetensors.

A file often stores the tensors in a nested dictionary (a container), and the tensors' names often
start with a prefix such as `module.`. Any container and any prefix is accepted if exactly one set
of tensors fits the network. If both averaged (EMA) and plain weights fit, the averaged weights are
used, as timm does. The module `weight_files` reads the files.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import TeacherRefused
from bench.models.wrapper import FeatureExtractor
from bench.training import weight_files
from bench.training.weight_files import Ignored, WeightFile

MAX_LISTED = 3  # limit for the tensors that an error message names
MAX_NAME_LENGTH = 200  # characters of a tensor's name
MAX_DEPTH = 5  # levels of nested containers
MAX_PREFIXES = 20  # prefixes that are tried, the most frequent first
OPTIONAL = ("num_batches_tracked",)  # files from before PyTorch 0.4.1 omit this
IGNORED = ("total_ops", "total_params", "n_averaged", "num_updates")  # counters, not weights
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

_AVERAGED = re.compile(r"(^|[\W_])(ema|swa|averaged?)([\W_]|$)|EMA", re.IGNORECASE)
_SHARD = re.compile(r"-\d{5}-of-\d{5}")  # a file name: the weights are in several files


@dataclass(frozen=True)
class Contents:
    """The content of a file of weights.

    Attributes:
        path: The file.
        format: `safetensors` or `PyTorch`.
        containers: The tensors of each container by name. A container's key is its place in the
            file, such as `model`; the key of tensors at the top level is empty.
        others: Names of the top-level entries without tensors.
        not_loaded: Names of the classes whose objects were not loaded.
    """

    path: Path
    format: str
    containers: Mapping[str, Mapping[str, Tensor]]
    others: tuple[str, ...]
    not_loaded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fit:
    """The tensors of a file that fit a network.

    Attributes:
        state: Tensors by the names that the network gives them.
        place: The container of the tensors; empty at the top level of the file.
        prefix: The prefix that was removed from the names in the file.
        left_out: Names of the container's tensors that do not have the prefix.
        note: A message for the user: averaged weights were preferred to plain weights, tensors were
            left out, the classifier stays random, or the precision changes. None if none of this
            happened.
    """

    state: dict[str, Tensor]
    place: str
    prefix: str
    left_out: tuple[str, ...] = ()
    note: str | None = None


def read(path: Path) -> Contents:
    """Read a file of weights; its content determines its format.

    Args:
        path: The file.

    Returns:
        The tensors of each container in the file, on the CPU.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file does not hold weights, is damaged, or contains code.
    """
    file = weight_files.read(path)
    containers = dict(_containers(file.content, (), set()))
    if not containers:
        raise TeacherRefused(f"{path}: {_without_tensors(file)}")
    is_mapping = isinstance(file.content, Mapping)
    tops = {place.partition(".")[0] for place in containers}
    others = [str(key) for key in file.content if str(key) not in tops] if is_mapping else []
    in_top = containers.get("", {})
    others = [key for key in others if key not in in_top]
    return Contents(path, file.format, containers, tuple(others), file.replaced)


def fit(contents: Contents, network: nn.Module, name: str, classifier: str | None = None) -> Fit:
    """Find the one set of tensors that fits a network in names and shapes.

    A prefix that the names of all these tensors have in the file is removed. If both averaged (EMA)
    and plain weights fit, the averaged weights are used, as timm does.

    Args:
        contents: The content of the file.
        network: The network; it may be on the meta device (tensors without memory).
        name: The network's name in messages, such as `a resnet8 of 10 classes`.
        classifier: The layer of the logits. If the file has another number of classes, the tensors
            of all layers with one output per class are left out. None: all tensors must fit.

    Returns:
        The tensors, with the names that the network gives them.

    Raises:
        TeacherRefused: No set of tensors fits, or several different sets fit.
    """
    if isinstance(network, FeatureExtractor):
        network = network.network
    drawn = network.state_dict()
    fits: list[Fit] = []
    unfit: list[Fit] = []
    closest: tuple[int, str] | None = None
    for candidate in _candidates(contents, drawn):
        state = candidate.state
        expected = with_classes_of(state, drawn, classifier) if classifier else drawn
        if not (problem := differences(expected, state)):
            fits.append(candidate)
            continue
        unfit.append(candidate)
        hits = sum(_is_match(value, state.get(key)) for key, value in expected.items())
        hits -= len(candidate.left_out)
        if closest is None or hits > closest[0]:
            closest = hits, problem + _class_hint(expected, state)
    fits += _parents(unfit, fits, drawn, classifier)
    if not fits:
        shard = ". The file is one of several shards: load all and save one file"
        hint = shard if _SHARD.search(contents.path.name) else ""
        problem = closest[1] if closest else "empty"
        raise TeacherRefused(f"{contents.path}: not {name}: {problem}{hint}")
    fit = _without_other_classes(_choose(contents.path, fits), drawn, contents.path)
    for key, value in fit.state.items():
        if value.is_floating_point() and not bool(value.float().isfinite().all()):
            problem = f"{key} contains NaN or infinity: the training of the network diverged"
            raise TeacherRefused(f"{contents.path}: {problem}")
    return fit


def _candidates(contents: Contents, expected: Mapping[str, Tensor]) -> Iterator[Fit]:
    """Yield, for each container and each prefix, the tensors with the prefix removed.

    Counters that are not part of the network are removed, too.
    """
    for place, stored in contents.containers.items():
        for tensors in _with_and_without_wrappers(stored, expected):
            for prefix in prefixes(expected, tensors):
                state = {
                    name: value
                    for key, value in tensors.items()
                    if key.startswith(prefix)
                    and _is_weight(name := key.removeprefix(prefix), value, expected)
                }
                left_out = tuple(key for key in tensors if not key.startswith(prefix))
                yield Fit(state, place, prefix, left_out)


def with_classes_of(
    state: Mapping[str, Tensor], drawn: Mapping[str, Tensor], classifier: str
) -> Mapping[str, Tensor]:
    """Return the network's tensors, with as many classes as a file's classifier has.

    Args:
        state: The file's tensors by name.
        drawn: The network's tensors by name.
        classifier: The layer of the logits.

    Returns:
        `drawn`, where the classifier's tensors have the file's number of rows. The same holds for
        further layers with one row for each class, such as auxiliary classifiers. `drawn` itself is
        returned if file and network have equally many classes, or the file has no such classifier.
    """
    sizes = {
        (len(value), len(stored))
        for name, value in drawn.items()
        if name.startswith(f"{classifier}.")
        and (stored := state.get(name)) is not None
        and stored.dim() == value.dim() > 0
        and stored.shape[1:] == value.shape[1:]
        and len(stored) != len(value)
    }
    if len(sizes) != 1:
        return drawn
    ((ours, theirs),) = sizes
    resized = {
        name: torch.empty((theirs, *value.shape[1:]), dtype=value.dtype, device="meta")
        for name, value in drawn.items()
        if value.dim() and len(value) == ours and len(state.get(name, ())) == theirs
    }
    return {**drawn, **resized}


def _without_other_classes(fit: Fit, drawn: Mapping[str, Tensor], path: Path) -> Fit:
    """Return the fit without the tensors that have another number of classes than the network."""
    other = [name for name, value in fit.state.items() if value.shape != drawn[name].shape]
    if not other:
        return fit
    layers = ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in other))
    sizes = f"{len(fit.state[other[0]])} classes, the data set {len(drawn[other[0]])}"
    note = f"the file has {sizes}: {layers} begins with random weights"
    kept = {name: value for name, value in fit.state.items() if name not in other}
    return replace(fit, state=kept, note=f"{fit.note}; {note}" if fit.note else f"{path}: {note}")


def _parents(
    unfit: Sequence[Fit],
    fits: Sequence[Fit],
    drawn: Mapping[str, Tensor],
    classifier: str | None,
) -> Iterator[Fit]:
    """Yield each candidate that fits after the tensors of other fits are removed from it.

    For example, a file holds the tensors of a network and of a copy: `conv1.weight` and
    `teacher.conv1.weight`. The tensors with the prefix `teacher.` fit. The candidate without a
    prefix has both sets of tensors, and fits if the names with `teacher.` are removed.
    """
    for candidate in unfit:
        inner = tuple(
            fit.prefix.removeprefix(candidate.prefix)
            for fit in fits
            if fit.place == candidate.place and fit.prefix.startswith(candidate.prefix)
        )
        state = {name: v for name, v in candidate.state.items() if not name.startswith(inner)}
        expected = with_classes_of(state, drawn, classifier) if classifier else drawn
        if inner and not differences(expected, state):
            names = (f"{candidate.prefix}{n}" for n in candidate.state if n.startswith(inner))
            yield replace(candidate, state=state, left_out=(*candidate.left_out, *names))


def prefixes(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the prefixes that the file may have added to the network's names of tensors.

    For example, `model.` is a prefix if the network has `conv1.weight` and the file has
    `model.conv1.weight`. The first prefix is always '', then the most frequent prefixes follow.

    Args:
        expected: The network's tensors by name.
        tensors: The file's tensors by name.
    """
    counts: Counter[str] = Counter()
    tails = {name.rpartition(".")[2] for name in expected}
    for name in tensors:
        parts = name.split(".")
        if parts[-1] in tails:
            for index in range(1, len(parts)):
                if ".".join(parts[index:]) in expected:
                    counts[".".join(parts[:index]) + "."] += 1
    return ["", *(prefix for prefix, _ in counts.most_common(MAX_PREFIXES))]


def load_into(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the tensors of a `Fit`; the network keeps the tensors that `state` does not have."""
    inner = network.network if isinstance(network, FeatureExtractor) else network
    inner.load_state_dict({**inner.state_dict(), **state})


def differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> str:
    """Describe how the file's tensors differ from the network's in name or shape; '' if equal.

    Args:
        expected: The network's tensors by name.
        actual: The file's tensors by name.
    """
    missing = [
        f"{name} {tuple(value.shape)}"
        for name, value in expected.items()
        if not _is_match(value, actual.get(name))
        and (name in actual or name.rpartition(".")[2] not in OPTIONAL)
    ]
    unexpected = [
        f"{name} {_shape(value)}"
        for name, value in actual.items()
        if name not in expected or not _is_match(expected[name], value)
    ]
    groups = {"missing": missing, "unexpected": unexpected}
    return "; ".join(_listed(label, tensors) for label, tensors in groups.items() if tensors)


def _is_match(expected: Tensor, actual: Tensor | None) -> bool:
    """Return whether a file's tensor has the network's shape, and its kind (float or integer)."""
    if actual is None or actual.shape != expected.shape:
        return False
    return _is_plain_tensor(actual) and actual.is_floating_point() == expected.is_floating_point()


def _is_plain_tensor(value: Tensor) -> bool:
    return not (value.is_meta or value.is_quantized) and value.layout is torch.strided


def _shape(value: Tensor) -> str:
    """Return a tensor's shape, and its type if its numbers are not floating-point numbers."""
    if value.is_floating_point() and _is_plain_tensor(value):
        return str(tuple(value.shape))
    kind = "no data" if value.is_meta else str(value.dtype).removeprefix("torch.")
    if value.layout is not torch.strided:
        kind = "sparse"
    return f"{tuple(value.shape)} ({kind})"


def _is_weight(name: str, value: Tensor, expected: Mapping[str, Tensor]) -> bool:
    """Return whether to compare a tensor; counters that the network does not have are skipped.

    The counter of a batch norm is not compared if the file stores a float, because some programs
    convert this counter together with the weights.
    """
    tail = name.rpartition(".")[2]
    if tail in OPTIONAL:
        return _is_match(expected[name], value) if name in expected else False
    return name in expected or tail not in IGNORED


def _with_and_without_wrappers(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Iterator[Mapping[str, Tensor]]:
    """Yield the tensors; then yield the tensors with the names of wrapper modules removed.

    For example, DataParallel adds `module` to the name `features.module.0.weight`.
    """
    yield tensors
    wrappers = WRAPPERS - {part for name in expected for part in name.split(".")}
    renamed = {
        ".".join(part for part in name.split(".") if part not in wrappers): value
        for name, value in tensors.items()
    }
    if len(renamed) == len(tensors) and renamed.keys() != tensors.keys():
        yield renamed


def _class_hint(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> str:
    """Return a hint if only the number of classes differs; otherwise, an empty text."""
    numbers = set()
    for name, value in expected.items():
        stored = actual.get(name)
        if stored is None or stored.shape[1:] != value.shape[1:]:
            return ""
        if stored.shape != value.shape:
            numbers.add((stored.shape[0], value.shape[0]))
    if len(numbers) != 1 or len(actual) > len(expected):
        return ""
    ((theirs, ours),) = numbers
    return (
        f". The file has {theirs} classes; a teacher's checkpoint must have {ours}. To begin a "
        "training with this file, use `networks: {NAME: {init: FILE}}`"
    )


def _choose(path: Path, fits: Sequence[Fit]) -> Fit:
    """Return the fit to use.

    If all fits are equal, the first fit is returned. Of two different fits, the fit with averaged
    weights is returned, if only one of them has averaged weights. Otherwise, raise TeacherRefused.
    """
    different: list[Fit] = []
    for fit in fits:
        if not any(_equal(fit.state, other.state) for other in different):
            different.append(fit)
    chosen, notes = different[0], []
    if len(different) > 1:
        averaged = [fit for fit in different if _AVERAGED.search(f"{fit.place}.{fit.prefix}")]
        names = ", ".join(f"'{describe(fit)}'" for fit in different)
        if len(different) > 2 or len(averaged) != 1:
            raise TeacherRefused(
                f"{path}: several sets of tensors fit: {names}. Allowed: a file in which exactly "
                "one set fits"
            )
        chosen = averaged[0]
        notes.append(f"{names} fit; the averaged weights '{describe(chosen)}' are used")
    left_out = [name for name in chosen.left_out if name.rpartition(".")[2] not in IGNORED]
    if left_out:
        notes.append(_listed(f"from '{describe(chosen)}'; not used:", left_out))
    floats = {value.dtype for value in chosen.state.values() if value.is_floating_point()}
    if types := [str(each).removeprefix("torch.") for each in floats - {torch.float32}]:
        notes.append(f"weights of {', '.join(sorted(types))} become float32")
    return replace(chosen, note=f"{path}: {'; '.join(notes)}" if notes else None)


def describe(fit: Fit) -> str:
    """Return the container and the prefix of a fit, such as `state_dict: model.*`."""
    where = fit.place or "the file itself"
    return f"{where}: {fit.prefix}*" if fit.prefix else where


def _equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _containers(
    content: Any, place: tuple[str, ...], visited: set[int]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the place and the tensors of each mapping that has tensors as values, at any level.

    Each mapping is visited once, because a small file can refer to the same mapping very often.
    """
    if not isinstance(content, Mapping | list | tuple) or len(place) > MAX_DEPTH:
        return
    if id(content) in visited:
        return
    visited.add(id(content))
    if not isinstance(content, Mapping):
        content = {str(i): item for i, item in enumerate(content) if not isinstance(item, Tensor)}
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors and all(map(_is_plain, tensors)) and all(isinstance(key, str) for key in content):
        yield ".".join(place), tensors
    for name, value in content.items():
        if isinstance(name, str) and _is_plain(name):
            yield from _containers(value, (*place, name), visited)


def _without_tensors(file: WeightFile) -> str:
    """Return why a file without a set of tensors is refused, and the fix."""
    classes = [name for name in file.replaced if name.startswith("torch.nn.")]
    if isinstance(file.content, Ignored):
        classes = [type(file.content).__name__]
    if classes:
        return (
            f"a pickled network, not weights: the file names {classes[0]}. Load the file in the "
            "program that wrote it, and save {'model': net.state_dict()}"
        )
    if any(name.startswith("numpy.") for name in file.replaced):
        fix = "save {name: torch.from_numpy(array) for each array}"
        return f"the file contains arrays of NumPy, not tensors: {fix}"
    keys = [str(key) for key in file.content] if isinstance(file.content, Mapping) else []
    return f"the file contains no state_dict{_listed('; its keys:', keys) if keys else ''}"


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable() and len(name) <= MAX_NAME_LENGTH


def _listed(label: str, names: Sequence[str]) -> str:
    rest = len(names) - MAX_LISTED
    return f"{label} {', '.join(names[:MAX_LISTED])}" + (f" and {rest} more" if rest > 0 else "")
