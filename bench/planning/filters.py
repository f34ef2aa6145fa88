"""Which rows `pair=vgg13/*,method=kd|crd,seed=0` means: shell patterns for each of some keys."""

import fnmatch
from collections.abc import Mapping, Sequence

from bench.errors import ConfigError, unknown

LONGEST = 2_000  # characters of a filter; each of its mistakes is told with all of it

Row = Mapping[str, str]  # what is known of a row, by key; all rows have the same keys


def fitting(rows: Sequence[Row], text: str) -> list[bool]:
    """For each row whether it fits the filter; an empty filter fits all.

    Raises `ConfigError` for an unknown key, for a pattern that no row fits, if no row is left, and
    for a text that is longer than `LONGEST`.
    """
    if len(text) > LONGEST:
        allowed = f"at most {LONGEST:,}; a pattern such as vgg13/* is short for many names"
        raise ConfigError([f"--filter: found {len(text):,} characters. Allowed: {allowed}"])
    wanted, mistakes = _parsed(text, list(rows[0]) if rows else [])
    for key, patterns in wanted.items():
        names = dict.fromkeys(row[key] for row in rows)
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                mistakes.append(f"--filter {text}: {unknown(key, pattern, names)}")
    if mistakes:
        raise ConfigError(mistakes)
    kept = [_fits(row, wanted) for row in rows]
    if rows and not any(kept):
        raise ConfigError(
            [f"--filter {text}: each part fits some run, but no run fits all of them"]
        )
    return kept


def _parsed(text: str, keys: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The patterns of each key, and what is wrong with the text."""
    wanted: dict[str, list[str]] = {}
    mistakes = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            allowed = f"KEY=VALUE with one of {', '.join(keys)} as key"
            mistakes.append(f"--filter {text}: found '{part}'. Allowed: {allowed}")
        elif key not in keys:
            mistakes.append(f"--filter {text}: {unknown('key', key, keys)}")
        elif key in wanted:
            allowed = f"one {key}=, with | between its values"
            mistakes.append(f"--filter {text}: found {key} twice. Allowed: {allowed}")
        else:
            wanted[key] = list(dict.fromkeys(pattern.strip() for pattern in value.split("|")))
    return wanted, mistakes


def _fits(row: Row, wanted: Mapping[str, Sequence[str]]) -> bool:
    return all(
        any(fnmatch.fnmatchcase(row[key], pattern) for pattern in patterns)
        for key, patterns in wanted.items()
    )
