"""The site in a real browser, from files: accessibility, keyboard, policy, narrow screens."""

from pathlib import Path

import pytest

from bench.site import folder
from tests.report.screen import (
    dark,
    find,
    keys,
    needs_axe,
    needs_browser,
    one,
    settled,
    size,
    started,
    violations,
)
from tests.site.site_factory import cifar100_folder, files_of, small_folder, with_top1
from tests.site.site_factory import run_of as run_named

pytestmark = [pytest.mark.slow, needs_browser]
KINDS = ("index", "suites", "leaderboards", "methods", "records/", "data", "disagreements")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of folders: one record disagrees, and one pair has published numbers."""
    root = tmp_path_factory.mktemp("site")
    first, second = small_folder(root / "a"), small_folder(root / "b")
    with_top1(second, run_named(second, "kd seed 0"), 50.0)
    (second / "runs" / "0000000000000000.json").write_text("damaged")
    folder.write(root / "site", files_of(first, second, cifar100_folder(root / "c")))
    return root / "site"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = started(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver):
    """The browser; a message in its console fails the test."""
    dark(driver, False)
    size(driver, 1280)
    driver.get_log("browser")
    yield driver
    assert driver.get_log("browser") == []


def samples(site: Path) -> list[Path]:
    """One page of each kind, all leaderboards, and all pages of a suite."""
    pages = sorted(site.rglob("*.html"))
    names = {page: str(page.relative_to(site)) for page in pages}
    first = [next(p for p in pages if names[p].startswith(kind)) for kind in KINDS]
    suites = [page for page in pages if names[page].startswith("suites/")]
    boards = [page for page in pages if names[page].startswith("leaderboards/")]
    return list(dict.fromkeys([*first, site / "records" / "index.html", *suites[-4:], *boards]))


@needs_axe
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_pass_the_accessibility_rules_of_axe(browser, site, width, is_dark):
    size(browser, width)
    dark(browser, is_dark)
    for page in samples(site):
        browser.get(page.as_uri())
        browser.execute_script(
            "document.querySelectorAll('details').forEach((node) => { node.open = true })"
        )
        assert (page.name, violations(browser)) == (page.name, [])


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_screen(browser, site, width):
    size(browser, width)
    for page in samples(site):
        browser.get(page.as_uri())
        browser.execute_script(  # as in a leaderboard with long numbers
            "document.querySelectorAll('td').forEach((cell) => cell.append(' 0.123 ± 0.456'))"
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page


def test_pages_load_their_own_files_only(browser, site):
    for page in samples(site):
        browser.get(page.as_uri())
        loaded = browser.execute_script(
            "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        )
        assert all(name.startswith(site.as_uri()) for name in loaded), loaded


def test_style_and_figures_are_loaded(browser, site):
    browser.get((site / "suites/quickstart/index.html").as_uri())
    images = find(browser, ".picture img")
    assert images
    for image in images:
        browser.execute_script("arguments[0].loading = 'eager'", image)
        settled(lambda image=image: image.get_property("naturalWidth") > 0)
    border = one(browser, ".result table").value_of_css_property("border-top-style")
    assert border == "solid"


def test_inline_scripts_and_other_hosts_are_refused(driver, site):
    driver.get((site / "index.html").as_uri())
    driver.execute_script(
        "window.blocked = [];"
        "document.addEventListener('securitypolicyviolation', (event) => {"
        " window.blocked.push(event.effectiveDirective) });"
        "try { setTimeout('window.hit = 1') } catch (error) { window.refused = error.name }"
        "const image = new Image(); image.src = 'https://example.org/x.png';"
    )
    settled(lambda: driver.execute_script("return window.blocked.includes('img-src')"))
    assert driver.execute_script("return [window.refused, window.hit]") == ["TypeError", None]
    driver.get_log("browser")


def test_search_works_with_keys_alone(browser, site):
    browser.get((site / "index.html").as_uri())
    box = one(browser, "#q")
    browser.execute_script("arguments[0].focus()", box)
    keys(browser, "crd")
    hits = find(browser, "#hits li")
    assert hits[0].text.split("\n")[0].startswith("method")
    assert "results" in one(browser, "#count").text
    keys(browser, "\ue015", "\ue015", "\ue013")  # down, down, up
    assert browser.switch_to.active_element.get_attribute("href").endswith("methods/crd.html")
    keys(browser, "\ue007")  # Enter
    settled(lambda: browser.title.startswith("CRD"))


def test_search_finds_suites_pairs_and_run_ids(browser, site):
    browser.get((site / "index.html").as_uri())
    run = next(p.stem for p in (site / "records").glob("*.html") if p.stem != "index")
    for query, address in {
        "quickstart": "suites/quickstart/index.html",
        "resnet8x4/resnet8 digits": "leaderboards/",
        run[:12]: f"records/{run}.html",
    }.items():
        box = one(browser, "#q")
        box.clear()
        box.send_keys(query)
        assert address in one(browser, "#hits a").get_attribute("href")
    box.clear()
    box.send_keys("no such thing")
    assert one(browser, "#count").text == "0 results"


def test_search_box_of_other_pages_leads_to_results(browser, site):
    browser.get((site / "methods/kd.html").as_uri())
    one(browser, ".find input").send_keys("crd seed\ue007")
    settled(lambda: "index.html" in browser.current_url and find(browser, "#hits li"))
    assert all("crd seed" in hit.text for hit in find(browser, "#hits li"))


def test_skip_link_is_first_and_leads_to_the_content(browser, site):
    browser.get((site / "methods/kd.html").as_uri())
    keys(browser, "\ue004")  # Tab
    focused = browser.switch_to.active_element
    assert focused.get_attribute("href").endswith("#main")
    assert focused.rect["x"] >= 0
    assert focused.value_of_css_property("outline-style") == "solid"


def test_a_number_leads_to_the_runs_of_its_cell_and_they_to_the_record(browser, site):
    browser.get((site / "suites/quickstart/index.html").as_uri())
    one(browser, "tr[data-method=crd] .number").click()
    row = one(browser, "tr:target")
    assert "CRD" in row.text
    row.find_element("css selector", ".seeds a").click()
    settled(lambda: "crd seed" in browser.title)
    assert find(browser, ".curve polyline")


def test_columns_of_a_suite_sort(browser, site):
    browser.get((site / "suites/quickstart/index.html").as_uri())
    head = find(browser, ".result .sort")[1]
    head.click()
    assert head.find_element("xpath", "..").get_attribute("aria-sort") == "descending"


def test_notes_of_a_leaderboard_are_printed(browser, site):
    page = next((site / "leaderboards").glob("cifar100*.html"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    browser.get(page.as_uri())
    notes = find(browser, ".notes")
    assert [note.is_displayed() for note in notes] == [True, True]
    assert not one(browser, "p.hint").is_displayed()


def test_pages_print(browser, site):
    for page in samples(site)[:4]:
        browser.get(page.as_uri())
        assert len(browser.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 5000
