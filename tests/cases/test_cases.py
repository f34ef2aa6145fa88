from tests import cases
from tests.cases.__main__ import PAGE


def test_every_case_has_a_test_and_every_mark_a_case() -> None:
    ids = [case for area in cases.read().values() for case in area]
    assert len(ids) == len(set(ids))
    assert set(cases.tests()) == set(ids)


def test_the_page_lists_the_cases_and_their_tests() -> None:
    _, _, page = PAGE.read_text("utf-8").partition("## ")
    assert f"## {page}".splitlines() == "\n".join(cases.tables()).splitlines()
