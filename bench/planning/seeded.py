"""Specifications of a method's students, which differ only in the seed and the teacher."""

import json
from typing import Any

from bench.spec import RunSpec, canonical_json, text_hash

SEED, TEACHER = "\0seed", "\0teacher"  # stand for the two values; no text of a suite has such bytes


class SeededSpec:
    """A specification for any seed and teacher; its ids are those of `RunSpec`, computed faster.

    Args:
        spec: The specification of one seed, with a teacher.
    """

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._text = canonical_json({**spec.content, "seed": SEED, "teacher": TEACHER})

    def of(self, seed: int, teacher: str) -> tuple[str, RunSpec]:
        """Return the id and the specification of a run."""
        values: dict[str, Any] = {"seed": seed, "teacher": teacher}
        text = self._text.replace(json.dumps(SEED), str(seed), 1)
        text = text.replace(json.dumps(TEACHER), json.dumps(teacher), 1)
        return text_hash(text), self._spec.model_copy(update=values)
