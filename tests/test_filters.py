"""Filters: the rows that match, and the messages where nothing can match."""

import pytest

from bench.errors import ConfigError
from bench.planning.filters import filter_matches

ROWS = [
    {"pair": pair, "method": method, "seed": seed}
    for pair in ("vgg13/vgg8", "vgg13/mobilenet_v2", "resnet56/resnet20")
    for method in ("student", "kd", "crd", "crd+kd")
    for seed in ("0", "1", "10")
]


def matching(text: str) -> list[str]:
    matches = filter_matches(ROWS, text)
    return [" ".join(row.values()) for row, fits in zip(ROWS, matches, strict=True) if fits]


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        filter_matches(ROWS, text)
    return list(error.value.lines)


@pytest.mark.parametrize("text", ["", "  ", ",", "pair=*"])
def test_empty_filter_matches_all(text: str) -> None:
    assert len(matching(text)) == len(ROWS)


def test_all_keys_and_one_pattern_of_each_must_match() -> None:
    assert matching("pair=*/vgg8,method=kd|crd,seed=1") == ["vgg13/vgg8 kd 1", "vgg13/vgg8 crd 1"]
    assert matching(" pair = vgg13/* , method = crd+kd , seed = 10 ") == [
        "vgg13/vgg8 crd+kd 10",
        "vgg13/mobilenet_v2 crd+kd 10",
    ]


def test_pattern_matches_the_complete_name() -> None:
    assert len(matching("method=crd")) == 9
    assert len(matching("method=crd*")) == 18
    assert len(matching("seed=1")) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metod=kd", "no key 'metod'. Did you mean 'method'? Allowed: method, pair, seed"),
        ("method=kdd", "no method 'kdd'. Did you mean 'kd'? Allowed: crd, crd+kd, kd, student"),
        ("method=kd|at", "no method 'at'"),
        ("seed=7", "no seed '7'. Allowed: 0, 1, 10"),
        ("kd", "found 'kd'. Allowed: KEY=VALUE with one of pair, method, seed as key"),
        ("method=", "found 'method='"),
        ("method=kd,method=crd", "found method twice. Allowed: one method=, with | between"),
    ],
)
def test_invalid_filter_is_refused(text: str, message: str) -> None:
    (line,) = problems(text)
    assert line.startswith(f"--filter {text}: {message}")


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems("metod=kd,method=kdd,seed=7,x")) == 4


def test_very_long_filter_is_refused_without_details() -> None:
    (line,) = problems(",".join(f"a{key}=1" for key in range(9000)))
    assert line.startswith("--filter: found 70,889 characters. Allowed: at most 2,000; a pattern")
    assert len(problems("x=1," * 500)) == 500


def test_repeated_pattern_is_checked_once() -> None:
    assert len(problems("seed=7|0| 7|0")) == 1
    assert matching("seed=1|0| 1|0") == matching("seed=0|1")


def test_parts_that_match_different_rows_are_refused() -> None:
    rows = [{"pair": "a", "seed": "0"}, {"pair": "b", "seed": "1"}]
    with pytest.raises(ConfigError, match="no run matches all parts"):
        filter_matches(rows, "pair=a,seed=1")
