"""Filters: what fits, and what is said where nothing can."""

import pytest

from bench.errors import ConfigError
from bench.planning import filters

ROWS = [
    {"pair": pair, "method": method, "seed": seed}
    for pair in ("vgg13/vgg8", "vgg13/mobilenet_v2", "resnet56/resnet20")
    for method in ("student", "kd", "crd", "crd+kd")
    for seed in ("0", "1", "10")
]


def kept(text: str) -> list[str]:
    fits = filters.fitting(ROWS, text)
    return [" ".join(row.values()) for row, fit in zip(ROWS, fits, strict=True) if fit]


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        filters.fitting(ROWS, text)
    return list(caught.value.lines)


@pytest.mark.parametrize("text", ["", "  ", ",", "pair=*"])
def test_nothing_said_fits_all(text: str) -> None:
    assert len(kept(text)) == len(ROWS)


def test_keys_must_all_fit_and_one_of_a_keys_patterns_is_enough() -> None:
    assert kept("pair=*/vgg8,method=kd|crd,seed=1") == ["vgg13/vgg8 kd 1", "vgg13/vgg8 crd 1"]
    assert kept(" pair = vgg13/* , method = crd+kd , seed = 10 ") == [
        "vgg13/vgg8 crd+kd 10",
        "vgg13/mobilenet_v2 crd+kd 10",
    ]


def test_a_pattern_is_the_whole_name() -> None:
    assert len(kept("method=crd")) == 9
    assert len(kept("method=crd*")) == 18
    assert len(kept("seed=1")) == 12


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_a_filter_that_cannot_be_meant(text: str, said: str) -> None:
    (line,) = mistakes(text)
    assert line.startswith(f"--filter {text}: {said}")


def test_all_mistakes_at_once() -> None:
    assert len(mistakes("metod=kd,method=kdd,seed=7,x")) == 4


def test_a_filter_that_would_tell_thousands_of_mistakes_is_refused_as_a_whole() -> None:
    (line,) = mistakes(",".join(f"a{key}=1" for key in range(9000)))
    assert line.startswith("--filter: found 70,889 characters. Allowed: at most 2,000; a pattern")
    assert len(mistakes("x=1," * 500)) == 500


def test_a_pattern_that_is_said_twice_is_asked_once() -> None:
    assert filters._parsed("seed=1|0| 1|0", ["seed"]) == ({"seed": ["1", "0"]}, [])


def test_parts_that_fit_only_apart() -> None:
    rows = [{"pair": "a", "seed": "0"}, {"pair": "b", "seed": "1"}]
    with pytest.raises(ConfigError, match="no run fits all of them"):
        filters.fitting(rows, "pair=a,seed=1")
