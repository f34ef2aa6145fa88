"""Describe a file of weights: the contents, and the networks of a suite that the file fits."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.config.text import count
from bench.errors import TeacherRefused
from bench.planning.plan import Plan
from bench.results.files import sha256
from bench.training import pretrained, teacher


def inspect_file(path: Path, plan: Plan) -> dict[str, Any]:
    """Describe a file of weights, as data that JSON can hold.

    Args:
        path: The file.
        plan: The plan of a suite, whose teachers and students are compared with the file.

    Returns:
        The format, the size in bytes and the SHA-256 of the file; its groups of tensors, such as
        `model` or `ema`; and its entries without tensors. For each network of the suite: whether
        the network is a teacher, and the group of tensors that would be loaded. If the file does
        not fit the network, the reason is given instead.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file cannot be read as weights.
    """
    contents, suite = pretrained.read(path), plan.suite
    teachers = {pair.teacher.network for pair in suite.pairs}
    networks = []
    for name in suite.networks:
        entry: dict[str, Any] = {"network": name, "teacher": name in teachers}
        try:
            fit = teacher.fit(contents, name, plan.facts_of("teacher"), suite.registry)
        except TeacherRefused as error:
            reason = str(error).removeprefix(f"{path}: ")
            networks.append(entry | {"fits": False, "reason": reason})
        else:
            use = pretrained.describe(fit)
            networks.append(entry | {"fits": True, "loads": use, "note": fit.note})
    return {
        "file": str(path),
        "format": contents.format,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "sets": [
            {
                "place": place or "the file itself",
                "tensors": len(tensors),
                "elements": sum(tensor.numel() for tensor in tensors.values()),
                "types": dict(
                    Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
                ),
                "first": next(iter(tensors)),
            }
            for place, tensors in contents.containers.items()
        ],
        "others": list(contents.others),
        "not_loaded": list(contents.not_loaded),
        "networks": networks,
    }


def inspection_text(content: dict[str, Any]) -> str:
    """Return the result of `inspect_file` as text."""
    lines = [
        f"{content['file']}: {content['format']}, {content['bytes']:,} bytes",
        f"sha256: {content['sha256']}",
    ]
    for entry in content["sets"]:
        types = ", ".join(f"{number} {name}" for name, number in entry["types"].items())
        lines.append(
            f"{entry['place']}: {count(entry['tensors'], 'tensor')} ({types}), "
            f"{entry['elements']:,} elements; the first tensor is {entry['first']}"
        )
    if content["others"]:
        lines.append(f"entries without tensors, not used: {', '.join(content['others'])}")
    if content["not_loaded"]:
        lines.append(f"objects that were not loaded: {', '.join(content['not_loaded'])}")
    lines.append("")
    for entry in content["networks"]:
        if entry["fits"]:
            lines.append(f"{entry['network']}: the file fits; tensors: {entry['loads']}")
            lines += [f"  {entry['note']}"] if entry["note"] else []
        else:
            lines.append(f"{entry['network']}: the file does not fit: {entry['reason']}")
    return "\n".join([*lines, *_use(content)])


def _use(content: dict[str, Any]) -> Iterator[str]:
    """Yield, for each teacher that the file fits, the line to write in the suite.

    If the file fits no teacher, a line says so.
    """
    fits = {entry["network"]: entry["teacher"] for entry in content["networks"] if entry["fits"]}
    for name in (name for name, is_teacher in fits.items() if is_teacher):
        yield f"to use the file: teachers: {{checkpoints: {{{name}: {content['file']}}}}}"
    if not fits:
        yield "the file fits no network of the suite"
    elif not any(fits.values()):
        yield f"the file fits no teacher of the suite, only students: {', '.join(fits)}"
