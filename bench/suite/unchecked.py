"""Read parts of a suite file that the schema has not checked, and that may have any type."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.config.fields import Text
from bench.config.text import foreign, short
from bench.errors import unknown

_text: TypeAdapter[str] = TypeAdapter(Text)


def as_mapping(content: Any) -> Mapping[str, Any]:
    """Return the content if it is a mapping, else {}; the schema reports other types."""
    return content if isinstance(content, dict) else {}


def as_list(content: Any) -> list[Any]:
    """Return the content if it is a list, else []; the schema reports other types."""
    return content if isinstance(content, list) else []


def as_name(content: Any) -> str | None:
    """Return the content if it is a valid name, else None; the schema reports invalid names."""
    with suppress(ValidationError):
        return _text.validate_python(content)
    return None


def unknown_name(kind: str, name: str, names: Sequence[str]) -> str | None:
    """Return a message if a name is not among the allowed names; else None."""
    return None if name in names else foreign(name) or unknown(kind, short(name), names)
