"""The rows that `controls: true` adds to a suite: methods without a trained teacher."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.plugins import Registry
from bench.suite.schema import Method
from distillers.declaration import reads_of_teacher

SMOOTHING = "ls"
CONTROLS_OF = (SMOOTHING, "kd", "student")  # the papers' methods that controls are made of
UNTRAINED_TEACHER, LONGER_TRAINING = "untrained-teacher", "longer-training"
NAMES = {UNTRAINED_TEACHER: "untrained teacher", LONGER_TRAINING: "longer training"}  # with labels
SMOOTHING_NOTE = "control: smoothed labels instead of a teacher"
LONGER_NOTE = (
    "control: the plain student, trained for as many epochs as teacher and student together"
)


def with_controls(
    methods: Sequence[Method], papers: Sequence[Method], registry: Registry
) -> Iterator[Method]:
    """Yield the methods of a suite, then its controls.

    A method of the suite that only smooths labels becomes the control, instead of the papers' `ls`.
    The untrained teacher teaches the suite's first method that reads only a teacher's logits.

    Args:
        methods: The methods that the suite names.
        papers: The papers' methods `CONTROLS_OF`, in this order.
        registry: The distillers that the suite can use.
    """
    smoothing, logits, plain = papers
    smooths = [method.terms.keys() == smoothing.terms.keys() for method in methods]
    for method, is_control in zip(methods, smooths, strict=True):
        yield _smoothing(method) if is_control else method
    if not any(smooths):
        yield _smoothing(smoothing)
    base = next((m for m in methods if _teaches_with_logits(m, registry)), logits)
    note = f"control: {base.label} taught by the teacher's network with its initial weights"
    note += ", with which agreement and KL compare"
    label = NAMES[UNTRAINED_TEACHER]
    yield replace(base, name=UNTRAINED_TEACHER, label=label, note=note, control="untrained")
    names = [method.terms.keys() for method in methods]
    alone = methods[names.index(plain.terms.keys())] if plain.terms.keys() in names else plain
    label = NAMES[LONGER_TRAINING]
    yield replace(alone, name=LONGER_TRAINING, label=label, note=LONGER_NOTE, control="longer")


def _smoothing(method: Method) -> Method:
    return replace(method, note=SMOOTHING_NOTE, control="smoothing")


def _teaches_with_logits(method: Method, registry: Registry) -> bool:
    """Return whether a method uses a teacher, and reads only the teacher's logits."""
    used = [d for d in map(registry.declaration, method.terms) if d.uses_teacher]
    reads = {name for distiller in used for name in reads_of_teacher(distiller)}
    return reads == {"logits"}
