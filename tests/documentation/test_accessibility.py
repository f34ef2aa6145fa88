"""Pages of the documentation site pass the accessibility rules of axe-core in a real browser."""

from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs: tox -e docs")

from tests.report.screen import dark, needs_axe, needs_browser, size, started, violations

pytestmark = [needs_browser, needs_axe]
PAGES = (
    "index.html", "STATISTICS.html", "methods/crd.html", "losses/crd.html", "api/bench.html",
    "TROUBLESHOOTING.html", "notebook.html",
)  # fmt: skip


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = started(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_pages_pass_the_accessibility_rules_of_axe(driver, site: Path, name, width, is_dark):
    size(driver, width)
    dark(driver, is_dark)
    driver.get((site / name).as_uri())
    driver.execute_script("localStorage.clear()")  # the theme stores the scheme of the last page
    driver.refresh()
    scheme = driver.execute_script("return document.body.dataset.mdColorScheme")
    assert scheme == ("slate" if is_dark else "default")
    assert violations(driver) == []
