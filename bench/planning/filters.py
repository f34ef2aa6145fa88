"""Filters such as `pair=vgg13/*,method=kd|crd,seed=0`: shell patterns for some keys of a row."""

import fnmatch
from collections.abc import Mapping, Sequence

from bench.errors import ConfigError, unknown

MAX_LENGTH = 2_000  # characters of a filter; each message about it quotes it

Row = Mapping[str, str]  # values by key; all rows have the same keys


def matches(rows: Sequence[Row], text: str) -> list[bool]:
    """Return for each row whether a filter matches it; an empty filter matches all.

    Args:
        rows: The rows.
        text: The filter, at most `MAX_LENGTH` long.

    Raises:
        ConfigError: A key is unknown, a pattern matches no row, or no row matches all of them.
    """
    if len(text) > MAX_LENGTH:
        allowed = f"at most {MAX_LENGTH:,}; a pattern such as vgg13/* replaces many names"
        raise ConfigError([f"--filter: found {len(text):,} characters. Allowed: {allowed}"])
    filters, problems = _parse(text, list(rows[0]) if rows else [])
    for key, patterns in filters.items():
        names = dict.fromkeys(row[key] for row in rows)
        problems += [
            unknown(key, pattern, names)
            for pattern in patterns
            if not fnmatch.filter(names, pattern)
        ]
    if problems:
        raise ConfigError([f"--filter {text}: {problem}" for problem in problems])
    fits = [
        all(any(fnmatch.fnmatchcase(row[key], p) for p in ps) for key, ps in filters.items())
        for row in rows
    ]
    if rows and not any(fits):
        raise ConfigError([f"--filter {text}: each part matches some run, but no run all of them"])
    return fits


def _parse(text: str, keys: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the patterns of each key, and the problems of the text."""
    filters: dict[str, list[str]] = {}
    problems = []
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = map(str.strip, part.partition("="))
        if not equals or not value:
            allowed = f"KEY=VALUE with one of {', '.join(keys)} as key"
            problems.append(f"found '{part}'. Allowed: {allowed}")
        elif key not in keys:
            problems.append(unknown("key", key, keys))
        elif key in filters:
            allowed = f"one {key}=, with | between its values"
            problems.append(f"found {key} twice. Allowed: {allowed}")
        else:
            filters[key] = list(dict.fromkeys(map(str.strip, value.split("|"))))
    return filters, problems
