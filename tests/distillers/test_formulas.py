"""Each distiller's formula in LaTeX is that of its docstring, and can be displayed."""

import re
import unicodedata

import pytest
from latex2mathml.converter import convert

import distillers


def letters(latex: str) -> set[str]:
    """Return the Greek letters of a formula: {"α"} for `\\alpha`."""
    greek = set()
    for name in re.findall(r"\\(?:var)?([a-zA-Z]+)", latex):
        size = "SMALL" if name[0].islower() else "CAPITAL"
        spelling = {"lambda": "lamda"}.get(name.lower(), name)  # Unicode's spelling
        try:
            greek.add(unicodedata.lookup(f"GREEK {size} LETTER {spelling.upper()}"))
        except KeyError:
            continue  # another command, such as \sum
    return greek


@pytest.mark.parametrize("name", distillers.names())
def test_formula_is_that_of_the_docstring(name: str) -> None:
    kind = distillers.load(name)
    assert "formula" in vars(kind), "a subclass has its own formula"
    assert kind.formula[0].startswith("L = ")
    text = str(kind.__doc__)
    shown = letters(" ".join(kind.formula))
    assert shown <= set(text), "the docstring defines each letter"
    first = text.partition("\n\n")[0]
    greek = {letter for letter in first if "GREEK" in unicodedata.name(letter, "")}
    assert greek <= shown | {"Σ"}, "Σ is a sum"


@pytest.mark.parametrize("name", distillers.names())
def test_formula_becomes_mathml_without_remains(name: str) -> None:
    for line in distillers.load(name).formula:
        markup = convert(line, display="block")
        assert markup.startswith("<math")
        assert "\\" not in markup, "an unknown command stays as it is"
