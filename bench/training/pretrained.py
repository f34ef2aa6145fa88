"""Weights that others trained, for a network of a suite: found in a file, compared, loaded.

A file may hold several containers, such as `state_dict` and `optimizer`. The names in a container
may have a prefix, such as `module.`. Names and shapes decide, not a list of keys: a file is
accepted if exactly one container holds all tensors of the network, under any prefix. If a file has
moving averages (EMA) as well as plain weights, the averages are taken, as timm does.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.data import Facts
from bench.errors import TeacherRefused
from bench.models.wrapper import FeatureExtractor
from bench.plugins import BUILTIN, Registry
from bench.training import weight_files
from bench.training.weight_files import Ignored, WeightFile

MAX_LISTED = 3  # tensors in an error message
MAX_NAME_LENGTH = 200  # characters of a tensor's name
MAX_ENTRIES = 200_000  # of all mappings in a file
MAX_LEVELS = 8  # of nested mappings
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COUNTERS = {"n_averaged", "num_updates", "num_batches_tracked", "total_ops", "total_params"}
AVERAGES = re.compile(r"(^|[._-])(ema|swa|averaged?)([._-]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Container:
    """A mapping in a file that contains tensors; `place` is the path of keys to it."""

    place: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Match:
    """A container whose names, after a prefix, are compared with those of a network.

    Attributes:
        place: Keys and prefix in front of the names, such as `state_dict.module.`; may be empty.
        tensors: The tensors after the prefix, by the network's names.
        outside: Names of the container without the prefix.
        expected: The network's tensors.
    """

    place: str
    tensors: Mapping[str, Tensor]
    outside: tuple[str, ...]
    expected: Mapping[str, Tensor]

    @property
    def missing(self) -> list[str]:
        """The network's tensors that the file does not have in that shape."""
        return [
            f"{name} {tuple(value.shape)}"
            for name, value in self.expected.items()
            if not self._has(name) and not _is_counter(name)
        ]

    @property
    def unexpected(self) -> list[str]:
        """The file's tensors that the network does not have in that shape."""
        return [
            f"{name} {_shape(value)}"
            for name, value in self.tensors.items()
            if not self._has(name) and not (_is_counter(name) and name not in self.expected)
        ]

    @property
    def matching(self) -> int:
        """The number of the network's tensors that the file has."""
        return sum(map(self._has, self.expected))

    @property
    def differences(self) -> str:
        """How the file and the network differ; empty if they do not."""
        groups = {"missing": self.missing, "unexpected": self.unexpected}
        return "; ".join(_listed(label, names) for label, names in groups.items() if names)

    def _has(self, name: str) -> bool:
        value, expected = self.tensors.get(name), self.expected.get(name)
        if value is None or expected is None or value.shape != expected.shape:
            return False
        return _is_usable(value) and value.is_floating_point() == expected.is_floating_point()


@dataclass(frozen=True)
class Weights:
    """The tensors of a file that fit a network, and remarks about their choice."""

    tensors: Mapping[str, Tensor]
    place: str
    remarks: tuple[str, ...]


def load(
    network: str, facts: Facts, path: Path, registry: Registry = BUILTIN
) -> tuple[nn.Module, tuple[str, ...]]:
    """Build a network with the weights of a file.

    Args:
        network: The network's name.
        facts: Says the number of classes and the size of images.
        path: The file.
        registry: The networks of the suite.

    Returns:
        The network, and remarks about the choice of weights, for the user.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is not a checkpoint of this network.
    """
    net = registry.build_network(network, facts.classes, facts.size)
    weights = fit(weight_files.read(path), net, f"{network} of {facts.classes} classes")
    initialise(net, weights)
    return net, weights.remarks


def initialise(net: nn.Module, weights: Weights) -> None:
    """Copy weights that `fit` returned into a network; missing counters stay as they are.

    Raises:
        TeacherRefused: A weight is not a number.
    """
    inner = _inner(net)
    for name, value in weights.tensors.items():
        if value.is_floating_point() and bool(value.float().isnan().any()):
            raise TeacherRefused(f"{weights.place}{name} contains NaN: its training has diverged")
    inner.load_state_dict({**inner.state_dict(), **weights.tensors})


def fit(file: WeightFile, net: nn.Module, name: str) -> Weights:
    """Find the weights of a network in a file.

    Args:
        file: The file's content.
        net: The network; only names and shapes are compared, so it may be on the meta device.
        name: The network's name in messages.

    Raises:
        TeacherRefused: No container, or more than one, holds the tensors of this network.
    """
    containers = find_containers(file)
    if not containers:
        raise TeacherRefused(f"{file.path}: {_without_tensors(file)}")
    matches = compare(containers, net)
    fitting = _distinct([match for match in matches if not match.differences])
    if not fitting:
        hint = _class_hint(matches[0]) if matches else ""
        differences = matches[0].differences if matches else _other_names(containers)
        raise TeacherRefused(f"{file.path}: not a {name}: {differences}{hint}{_shard_hint(file)}")
    chosen = fitting[0]
    if len(fitting) > 1:
        averages = [match for match in fitting if AVERAGES.search(match.place)]
        if len(fitting) > 2 or len(averages) != 1:
            places = ", ".join(_quoted(match.place) for match in fitting)
            raise TeacherRefused(
                f"{file.path}: holds {len(fitting)} different {name}: {places}. Allowed: one; save "
                "it alone, as {'model': …}"
            )
        chosen = averages[0]
    rest = [match.place for match in fitting if match is not chosen]
    expected = chosen.expected
    tensors = {key: value for key, value in chosen.tensors.items() if key in expected}
    return Weights(tensors, chosen.place, tuple(_remarks(chosen, rest)))


def find_containers(file: WeightFile) -> list[Container]:
    """Return the mappings in a file that contain tensors, by depth.

    Raises:
        TeacherRefused: A tensor's name is not printable ASCII, or there are too many entries.
    """
    containers, level = [], [("", file.content)]
    entries = 0
    for _ in range(MAX_LEVELS):
        deeper: list[tuple[str, Any]] = []
        for place, mapping in level:
            if isinstance(mapping, list | tuple):
                mapping = {i: item for i, item in enumerate(mapping) if isinstance(item, Mapping)}
            if not isinstance(mapping, Mapping):
                continue
            entries += len(mapping)
            if entries > MAX_ENTRIES:
                raise TeacherRefused(f"{file.path}: more than {MAX_ENTRIES:,} entries")
            tensors = {
                str(key): value for key, value in mapping.items() if isinstance(value, Tensor)
            }
            if tensors:
                _check_names(file.path, (f"{place}{name}" for name in tensors))
                containers.append(Container(place, tensors))
            deeper += [(f"{place}{key}.", value) for key, value in mapping.items()]
        level = deeper
    return containers


def compare(containers: list[Container], net: nn.Module) -> list[Match]:
    """Compare a network with each container and prefix that has any of its names, best first."""
    expected = _inner(net).state_dict()
    matches: list[Match] = []
    for container in containers:
        tensors = _without_wrappers(container.tensors, expected)
        votes: Counter[str] = Counter()
        for name in tensors:
            parts = name.split(".")
            suffixes = (".".join(parts[i:]) for i in range(len(parts)))
            votes.update(name[: -len(end)] for end in suffixes if end in expected)
        for prefix, count in votes.most_common():
            if matches and count < 0.5 * votes.most_common(1)[0][1]:
                break
            inside = {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
            outside = tuple(name for name in tensors if not name.startswith(prefix))
            matches.append(Match(container.place + prefix, inside, outside, expected))
    return sorted(matches, key=lambda match: -match.matching)


def _inner(net: nn.Module) -> nn.Module:
    """Return the network with its original names."""
    return net.network if isinstance(net, FeatureExtractor) else net


def _without_wrappers(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Remove the names of wrapper modules, such as DataParallel's `module`, inside names too."""
    removed = WRAPPERS - {part for name in expected for part in name.split(".")}
    renamed = {
        ".".join(part for part in name.split(".") if part not in removed): value
        for name, value in tensors.items()
    }
    return renamed if len(renamed) == len(tensors) else tensors


def _is_counter(name: str) -> bool:
    """Return whether a tensor only counts: batches, averaged networks, or operations (thop)."""
    return name.rpartition(".")[2] in COUNTERS


def _is_usable(value: Tensor) -> bool:
    """Return whether a tensor holds plain numbers: not quantised, sparse, or without data."""
    return not (value.is_meta or value.is_quantized or value.layout is not torch.strided)


def _shape(value: Tensor) -> str:
    """Return a tensor's shape, and its type unless it holds plain floating-point numbers."""
    if not _is_usable(value):
        kind = "no data" if value.is_meta else "sparse or quantised"
        return f"{tuple(value.shape)} ({kind})"
    kind = "" if value.is_floating_point() else f" ({str(value.dtype).removeprefix('torch.')})"
    return f"{tuple(value.shape)}{kind}"


def _listed(label: str, names: list[str]) -> str:
    rest = len(names) - MAX_LISTED
    return f"{label} {', '.join(names[:MAX_LISTED])}" + (f" and {rest} more" if rest > 0 else "")


def _quoted(place: str) -> str:
    """Return a place for messages: `'state_dict'`, or `no key`."""
    return f"'{place.removesuffix('.')}'" if place else "no key"


def _distinct(matches: list[Match]) -> list[Match]:
    """Return the matches without those whose weights are those of an earlier one."""
    distinct: list[Match] = []
    for match in matches:
        if not any(_are_equal(match, other) for other in distinct):
            distinct.append(match)
    return distinct


def _are_equal(left: Match, right: Match) -> bool:
    names = [name for name in left.expected if not _is_counter(name)]
    return all(torch.equal(left.tensors[name], right.tensors[name]) for name in names)


def _remarks(match: Match, others: list[str]) -> Iterator[str]:
    """Yield what a user should know about the weights that were taken from a file."""
    if others:
        yield (
            f"the moving averages under {_quoted(match.place)} were taken, not the weights under "
            f"{', '.join(map(_quoted, others))}"
        )
    if ignored := [name for name in match.outside if not _is_counter(name)]:
        yield f"weights under {_quoted(match.place)}; {_listed('ignored', ignored)}"
    floats = {value.dtype for value in match.tensors.values() if value.is_floating_point()}
    if other := sorted(str(dtype).removeprefix("torch.") for dtype in floats - {torch.float32}):
        yield f"weights of {', '.join(other)} are used as float32"


def _class_hint(match: Match) -> str:
    """Return a hint if only the number of classes differs; else an empty text."""
    pairs = [
        (match.tensors.get(name), value)
        for name, value in match.expected.items()
        if name not in match.tensors or match.tensors[name].shape != value.shape
    ]
    classes = set()
    for theirs, ours in pairs:
        if theirs is None or theirs.shape[1:] != ours.shape[1:]:
            return ""
        classes.add((*theirs.shape[:1], *ours.shape[:1]))
    if len(classes) != 1 or len(match.tensors) > len(match.expected):
        return ""
    (numbers,) = classes
    return f". It has {numbers[0]} classes; a teacher's checkpoint must have {numbers[1]}"


def _shard_hint(file: WeightFile) -> str:
    shard = re.search(r"-\d{5}-of-\d{5}", file.path.name)
    return ". The file is one shard of several: load all and save one file" if shard else ""


def _other_names(containers: list[Container]) -> str:
    """Return an example of names for a file in which no tensor has a name of the network."""
    largest = max(containers, key=lambda container: len(container.tensors))
    where = f" under {_quoted(largest.place)}" if largest.place else ""
    return f"none of its tensors' names; {_listed(f'it has{where}', list(largest.tensors))}"


def _without_tensors(file: WeightFile) -> str:
    """Return why a file without a state_dict is refused, and the fix."""
    network = file.content if isinstance(file.content, Ignored) else None
    if network is not None or any(name.startswith("torch.nn.") for name in file.replaced):
        kind = f" ({type(network).__name__})" if network is not None else ""
        return (
            f"a pickled network{kind}, not its weights. In the program that wrote it: "
            "torch.save({'model': net.state_dict()}, …)"
        )
    if isinstance(file.content, Mapping) and file.content:
        keys = _listed("", [str(key) for key in file.content])
        return f"no state_dict in it; its keys are{keys}"
    return f"no state_dict in it, but a {type(file.content).__name__}"


def _check_names(path: Path, names: Iterator[str]) -> None:
    for name in names:
        if not (name.isascii() and name.isprintable() and len(name) <= MAX_NAME_LENGTH):
            raise TeacherRefused(
                f"{path}: no state_dict in it: {name[:40]!r} is not a printable ASCII name of at "
                f"most {MAX_NAME_LENGTH} characters"
            )
