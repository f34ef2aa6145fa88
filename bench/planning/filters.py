"""Filters of plans, such as `pair=vgg13/*,method=kd|crd,seed=0`."""

import fnmatch
from collections.abc import Mapping, Sequence

from bench.errors import ConfigError, unknown

MAX_FILTER_LENGTH = 2_000  # characters of a filter; messages quote the filter


def filter_matches(rows: Sequence[Mapping[str, str]], text: str) -> list[bool]:
    """Return for each row whether the filter matches the row; an empty filter matches all rows.

    Args:
        rows: Values by key; all rows have the same keys.
        text: The filter, at most `MAX_FILTER_LENGTH` characters.

    Raises:
        ConfigError: The filter is too long, a key is unknown, a pattern matches no row, or no row
            matches all keys of the filter.
    """
    if len(text) > MAX_FILTER_LENGTH:
        allowed = f"at most {MAX_FILTER_LENGTH:,}; a pattern such as vgg13/* replaces many names"
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
        raise ConfigError(
            [f"--filter {text}: each part matches a run, but no run matches all parts"]
        )
    return fits


def _parse(text: str, keys: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the patterns of a filter by key, and a message for each error in the filter."""
    filters: dict[str, list[str]] = {}
    problems = []
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = map(str.strip, part.partition("="))
        if not equals or not value:
            keys_text = ", ".join(keys)
            problems.append(f"found '{part}'. Allowed: KEY=VALUE with one of {keys_text} as key")
        elif key not in keys:
            problems.append(unknown("key", key, keys))
        elif key in filters:
            problems.append(f"found {key} twice. Allowed: one {key}=, with | between its values")
        else:
            filters[key] = list(dict.fromkeys(map(str.strip, value.split("|"))))
    return filters, problems
