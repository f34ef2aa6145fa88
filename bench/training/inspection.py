"""Describe a file of weights: its contents, and the networks of a suite that it fits."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from bench.config.text import count
from bench.errors import TeacherRefused
from bench.planning.estimate import build_for_estimate
from bench.planning.plan import Plan
from bench.results.files import sha256
from bench.training import pretrained


def inspect_file(path: Path, plan: Plan) -> dict[str, Any]:
    """Describe a file of weights, as data that JSON can hold.

    Args:
        path: The file.
        plan: The plan of a suite, whose teachers and students are compared with the file.

    Returns:
        The format, size in bytes, SHA-256, sets of tensors and other entries of the file. For each
        network of the suite, the tensors that would be loaded, or the reason why none fit.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file cannot be read as weights.
    """
    contents, suite, facts = pretrained.read(path), plan.suite, plan.facts
    names = [name for pair in suite.pairs for name in (pair.teacher.network, pair.student)]
    networks = []
    for name in dict.fromkeys(names):
        build = partial(suite.registry.build_network, name, facts.classes, facts.size)
        try:
            label = f"a {name} of {facts.classes} classes"
            fit = pretrained.fit(contents, build_for_estimate(build), label)
        except TeacherRefused as error:
            reason = str(error).removeprefix(f"{path}: ")
            networks.append({"network": name, "fits": False, "reason": reason})
        else:
            use = pretrained.describe(fit)
            networks.append({"network": name, "fits": True, "loads": use, "note": fit.note})
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
    """Return a description that `inspect_file` made as lines of text."""
    lines = [
        f"{content['file']}: {content['format']}, {content['bytes']:,} bytes",
        f"sha256: {content['sha256']}",
    ]
    for entry in content["sets"]:
        types = ", ".join(f"{number} {name}" for name, number in entry["types"].items())
        lines.append(
            f"{entry['place']}: {count(entry['tensors'], 'tensor')} ({types}), "
            f"{entry['elements']:,} elements; the first is {entry['first']}"
        )
    if content["others"]:
        lines.append(f"also, not used: {', '.join(content['others'])}")
    if content["not_loaded"]:
        lines.append(f"objects that were not loaded: {', '.join(content['not_loaded'])}")
    lines.append("")
    for entry in content["networks"]:
        if entry["fits"]:
            lines.append(f"{entry['network']}: fits, from {entry['loads']}")
            lines += [f"  {entry['note']}"] if entry["note"] else []
        else:
            lines.append(f"{entry['network']}: does not fit: {entry['reason']}")
    lines.append(f"to use it: teachers: {{checkpoints: {{NETWORK: {content['file']}}}}}")
    return "\n".join(lines)
