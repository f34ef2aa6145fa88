"""What a checkpoint's file holds, and for which networks of a suite it can be used."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench import data
from bench.data import Facts
from bench.errors import BenchError, ConfigError, MissingData, TeacherRefused
from bench.planning.estimate import build_for_estimate
from bench.results import sha256
from bench.suite import Suite
from bench.training import pretrained, weight_files
from bench.training.pretrained import Container
from bench.training.weight_files import WeightFile


def check_checkpoints(suite: Suite, root: Path | None = None) -> None:
    """Open every checkpoint that a suite names, and compare it with its network.

    A file that is not there yet is skipped: the suite gives its SHA-256. If the data set is not
    there, the number of classes may be unknown; then files are opened, but not compared.

    Args:
        suite: The suite.
        root: Folder of data sets; None: `BENCH_DATA`, or `data` in the current folder.

    Raises:
        ConfigError: A file is not a checkpoint of its network; the message has the suite's lines.
    """
    teachers = {pair.teacher.network: pair.teacher.checkpoint for pair in suite.pairs}
    lines = []
    for network, checkpoint in teachers.items():
        if checkpoint is None or not checkpoint.path.exists():
            continue
        try:
            file = weight_files.read(checkpoint.path)
            if (facts := _facts(suite, root)) is not None:
                _check(file, network, suite, facts)
        except (MissingData, TeacherRefused) as error:
            place = f"teachers.checkpoints.{network}"
            origin = suite.origins.get(f"{place}.path", "").removeprefix("suite:")
            where = f"{suite.path}:{origin}" if origin.isdecimal() else str(suite.path)
            lines.append(f"{where}  {place}: {error}")
    if lines:
        raise ConfigError(lines)


def inspect(path: Path, suite: Suite, root: Path | None = None) -> dict[str, Any]:
    """Describe a checkpoint's file, and what would be done with it for each network of a suite.

    Args:
        path: The file; it may hold anything.
        suite: The suite.
        root: Folder of data sets; None: `BENCH_DATA`, or `data` in the current folder.

    Returns:
        Data for JSON: `file`, `bytes`, `sha256`, `format`, `problem` (why it cannot be read),
        `containers`, `other` entries, classes that are `not_loaded`, `networks`, and `nearest`.

    Raises:
        MissingData: The file, or the data set that says the number of classes, does not exist.
    """
    try:
        file, problem = weight_files.read(path), None
    except TeacherRefused as error:
        file, problem = None, str(error)
    content: dict[str, Any] = {"file": str(path), "bytes": None, "sha256": None}
    if path.is_file():
        content |= {"bytes": path.stat().st_size, "sha256": sha256(path)}
    content |= {"format": file.format if file else None, "problem": problem}
    content |= {"containers": [], "other": [], "not_loaded": [], "networks": [], "nearest": None}
    if file is None:
        return content
    facts = data.facts(suite.data, root, suite.registry.datasets)
    try:
        containers = pretrained.find_containers(file)
    except TeacherRefused as error:
        return {**content, "problem": str(error)}
    networks = [_describe_use(file, containers, *item, suite, facts) for item in _roles(suite)]
    matching = [entry for entry in networks if entry["matching"]]
    nearest = max(matching, key=_similarity, default=None)
    return content | {
        "containers": [_describe_container(container) for container in containers],
        "other": list(_other_entries(file.content, containers)),
        "not_loaded": list(file.replaced),
        "networks": networks,
        "nearest": nearest and nearest["network"],
    }


def _similarity(entry: Mapping[str, Any]) -> tuple[bool, float]:
    return entry["fits"], entry["matching"] / max(entry["tensors"], entry["in_file"])


def _facts(suite: Suite, root: Path | None) -> Facts | None:
    try:
        return data.facts(suite.data, root, suite.registry.datasets)
    except BenchError:
        return None


def _check(file: WeightFile, network: str, suite: Suite, facts: Facts) -> None:
    """Raise TeacherRefused for weights of another network, with the suite's network that fits."""
    if (net := _build(network, suite, facts)) is None:
        return
    try:
        pretrained.fit(file, net, f"{network} of {facts.classes} classes")
    except TeacherRefused as error:
        others = (other for other, _ in _roles(suite) if other != network)
        fitting = next((other for other in others if _fits(file, other, suite, facts)), None)
        if fitting is None:
            raise
        raise TeacherRefused(
            f"{error}. It fits {fitting}, another network of this suite"
        ) from error


def _fits(file: WeightFile, network: str, suite: Suite, facts: Facts) -> bool:
    net = _build(network, suite, facts)
    try:
        return net is not None and bool(pretrained.fit(file, net, network))
    except TeacherRefused:
        return False


def _build(network: str, suite: Suite, facts: Facts) -> nn.Module | None:
    """Return a network, a large one without memory; None if it cannot be built."""
    build = partial(suite.registry.build_network, network, facts.classes, facts.size)
    try:
        return build_for_estimate(build)
    except Exception:  # a plugin may raise anything
        return None


def _roles(suite: Suite) -> list[tuple[str, str]]:
    """Return each network of a suite with its first role, teachers first."""
    students = dict.fromkeys((pair.student for pair in suite.pairs), "student")
    teachers = dict.fromkeys((pair.teacher.network for pair in suite.pairs), "teacher")
    return list({**teachers, **students, **teachers}.items())


def _describe_use(
    file: WeightFile,
    containers: list[Container],
    network: str,
    role: str,
    suite: Suite,
    facts: Facts,
) -> dict[str, Any]:
    """Return whether a file fits a network: from which place, or how it differs."""
    entry: dict[str, Any] = {"network": network, "role": role, "fits": False, "place": None}
    entry |= {"remarks": [], "problem": "the network cannot be built", "matching": 0}
    entry |= {"tensors": 0, "in_file": 0}
    if (net := _build(network, suite, facts)) is None:
        return entry
    if matches := pretrained.compare(containers, net):
        best = matches[0]
        entry |= {"matching": best.matching, "in_file": len(best.tensors)}
    entry["tensors"] = len(net.state_dict())
    try:
        weights = pretrained.fit(file, net, f"{network} of {facts.classes} classes")
    except TeacherRefused as error:
        return entry | {"problem": str(error).removeprefix(f"{file.path}: ")}
    remarks = list(weights.remarks)
    return entry | {"fits": True, "problem": None, "place": weights.place, "remarks": remarks}


def _describe_container(container: Container) -> dict[str, Any]:
    names, values = list(container.tensors), list(container.tensors.values())
    return {
        "place": container.place.removesuffix("."),
        "tensors": len(values),
        "numbers": sum(value.numel() for value in values),
        "dtypes": sorted({str(value.dtype).removeprefix("torch.") for value in values}),
        "prefix": _shared_prefix(names),
        "first": names[0],
    }


def _shared_prefix(names: list[str]) -> str:
    """Return the dotted prefix that all names share; empty for a single name."""
    parts = [name.split(".")[:-1] for name in names] if len(names) > 1 else [[]]
    shared = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return "".join(f"{part}." for part in shared)


def _other_entries(content: Any, containers: list[Container]) -> Iterator[dict[str, str]]:
    """Yield the top-level entries that hold no tensors: numbers and texts with their value."""
    if not isinstance(content, Mapping):
        yield {"key": "", "kind": type(content).__name__}
        return
    for key, value in content.items():
        inside = any(f"{container.place}.".startswith(f"{key}.") for container in containers)
        if not inside and not isinstance(value, Tensor):
            shown = isinstance(value, str | int | float | None) and len(str(value)) <= 60
            yield {"key": str(key), "kind": repr(value) if shown else type(value).__name__}
