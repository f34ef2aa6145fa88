"""In what two cells were not made alike, so that no change of recipe is compared in silence."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.regression.cells import Cell

MOST = 6  # differences that are told one by one
_SAME = ("torch", "torchvision", "cuda", "device", "precision", "threads", "cuda_graphs")


def differences(before: Cell, now: Cell) -> tuple[str, ...]:
    """Notes on what differs between two cells; none where a side does not say."""
    return tuple(note for note in (_setting(before, now), _teachers(before, now)) if note)


def environments(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """`torch: 2.15.0, now 2.16.0` for each thing that can move numbers."""
    return tuple(
        f"{key}: {before[key]}, now {now[key]}"
        for key in _SAME
        if key in before and key in now and before[key] != now[key]
    )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`recipe.epochs 20 → 30` for each value that differs between nested mappings."""
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{key} {_shown(old.get(key))} → {_shown(new.get(key))}"
        for key in dict.fromkeys((*old, *new))
        if _plain(old.get(key)) != _plain(new.get(key))
    ]


def differs(before: Cell, now: Cell) -> bool:
    """Whether two cells are known to have been made in different settings."""
    return bool(_setting(before, now))


def _setting(before: Cell, now: Cell) -> str:
    known = before.setting and now.setting
    found = changes(*_beside(before.setting, now.setting)) if known else []
    found += changes(before.terms, now.terms) if before.terms and now.terms else []
    if not found:
        return ""
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return f"another setting: {', '.join(found[:MOST])}{more}"


def _beside(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Both settings, without the teacher where a side lacks its record and cannot say."""
    if "teacher" in before and "teacher" in now:
        return before, now
    both = ({key: one[key] for key in one if key != "teacher"} for one in (before, now))
    return next(both), next(both)


def _teachers(before: Cell, now: Cell) -> str:
    """A teacher that all seeds share moves them together, which their spread does not show."""
    known = before.teachers and now.teachers and before.teachers != now.teachers
    n = max((found.n for found in now.metrics.values()), default=0)
    if not known or len(now.teachers) >= n > 1:
        return ""
    return "another teacher's weights: what they change in all seeds is not in the spread"


def _flat(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in found.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, prefix if key == "options" else f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: Any) -> Any:
    """Equal values in the same form, before and after a JSON file; nothing is like no entry."""
    if isinstance(value, tuple):
        return list(value)
    return None if value == {} else value


def _shown(value: Any) -> str:
    match value:
        case None | {}:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return "/".join(map(str, value)) or "none"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}…"
