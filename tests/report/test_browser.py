"""The page in a real browser: headless Chromium, driven by selenium, from a file."""

import pytest
from page_factory import HOSTILE, entries
from screen import choose, find, keys, needs_browser, one, rows, settled, size, started

from bench.report.page import page
from bench.report.table import About

pytestmark = needs_browser
ABOUT = About("Probe", "In a browser.")
SCHEME = "prefers-color-scheme"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = started(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def shown(browser, tmp_path):
    """The browser with a page; whatever it complained about afterwards fails the test."""

    def show(made=None, about=ABOUT):
        path = tmp_path / "suite.html"
        path.write_text(page(made or entries(), about), "utf-8")
        browser.get(path.as_uri())
        return browser

    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    size(browser, 1280)
    yield show
    assert browser.get_log("browser") == []


def test_the_page_is_whole_and_loads_nothing(shown):
    browser = shown()
    assert browser.title == "Probe"
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert rows(browser) == ["kd", "at", "crd", "wcord", "dcd"]
    assert len(find(browser, "#curve-chart path.line")) == 5
    assert len(find(browser, "#cost-chart .dot")) == 5


def test_a_head_sorts_falling_rising_and_back(shown):
    browser = shown()
    head = find(browser, ".result:not([hidden]) .sort")[2]
    orders = []
    for _ in range(3):
        head.click()
        state = head.find_element("xpath", "..").get_attribute("aria-sort")
        orders.append((state, rows(browser)))
    assert orders == [
        ("descending", ["wcord", "crd", "kd", "at", "dcd"]),
        ("ascending", ["kd", "crd", "wcord", "at", "dcd"]),
        ("none", ["kd", "at", "crd", "wcord", "dcd"]),
    ]


def test_the_metric_switches_table_and_cost(shown):
    browser = shown()
    choose(browser, "metric", "nll")
    [figure] = find(browser, ".result:not([hidden])")
    assert figure.get_attribute("data-metric") == "nll"
    assert "NLL" in one(browser, "#cost-chart svg").get_attribute("aria-label")


def test_methods_and_pairs_can_be_hidden_everywhere(shown):
    browser = shown()
    find(browser, ".filter summary")[0].click()
    one(browser, "#methods input[value=crd]").click()
    assert rows(browser) == ["kd", "at", "wcord", "dcd"]
    assert one(browser, "#methods-count").text == "5 of 6"
    assert len(find(browser, "#curve-chart path.line")) == 4
    keys(browser, "\ue00c")  # Escape
    assert not find(browser, ".filter[open]")
    find(browser, ".filter summary")[1].click()
    one(browser, "#pairs input[value='wrn_40_2/wrn_16_2']").click()
    heads = find(browser, ".result:not([hidden]) thead th:not([hidden])")
    assert len(heads) == 2
    assert "resnet8x4" in heads[1].text


def test_a_number_opens_its_records_and_escape_returns_to_it(shown):
    browser = shown()
    number = one(browser, ".result:not([hidden]) tr[data-method=crd] .number")
    number.click()
    panel = one(browser, "#panel")
    assert panel.is_displayed()
    assert one(browser, "#panel-title").text == "CRD, WRN-40-2 → WRN-16-2"
    assert "wrn_40_2/wrn_16_2crd0" in panel.text
    assert "torch\n2.15.0" in panel.text
    assert "method:\n  ce:\n    weight: 1" in panel.text
    assert len(find(browser, "#panel svg")) == 2
    find(browser, "#panel .seeds button")[2].click()
    assert "wrn_40_2/wrn_16_2crd2" in panel.text
    link = one(browser, "#panel a").get_attribute("href")
    assert link.endswith("/runs/wrn_40_2%2Fwrn_16_2crd2.json")
    keys(browser, "\ue00c")
    assert not panel.is_displayed()
    assert browser.switch_to.active_element == number


def test_a_number_tells_its_interval_difference_and_verdict(shown):
    browser = shown()
    one(browser, ".result:not([hidden]) tr[data-method=at] .number").click()
    told = one(browser, "#panel dl").text
    assert "Mean ± std\n74.10 ± 0.10" in told
    assert "95 % interval\n[73.85, 74.35]" in told
    assert "Difference to KD\n−0.80 [−0.90, −0.70]" in told
    assert "Verdict\nworse" in told
    keys(browser, "\ue00c")
    find(browser, ".result:not([hidden]) tr[data-method=wcord] .number")[1].click()
    told = one(browser, "#panel dl").text
    assert "Mean ± std\n76.20 ± 0.28\n" in told  # without the mark of a note
    assert "not tested: lacks seeds" in told
    keys(browser, "\ue00c")
    choose(browser, "metric", "nll")
    one(browser, ".result:not([hidden]) tr[data-method=at] .number").click()
    assert one(browser, "#panel h3").text == "Test NLL of the last epoch"
    keys(browser, "\ue00c")
    one(browser, ".result:not([hidden]) tr[data-role=teacher] .number").click()
    assert one(browser, "#panel h3").text == "Result"
    keys(browser, "\ue00c")


def test_statistics_go_with_metric_methods_and_pairs(shown):
    browser = shown()
    [statistics] = find(browser, ".statistics:not([hidden])")
    assert statistics.get_attribute("data-metric") == "top1"
    statistics.find_element("css selector", "summary").click()

    def methods():
        found = find(browser, ".statistics:not([hidden]) section:not([hidden])[data-pair] tbody tr")
        return [row.get_attribute("data-method") for row in found if row.is_displayed()]

    whole = ["ce", "kd", "at", "crd", "wcord", "dcd"]
    assert methods() == whole * 2
    find(browser, ".filter summary")[0].click()
    one(browser, "#methods input[value=crd]").click()
    keys(browser, "\ue00c")
    find(browser, ".filter summary")[1].click()
    one(browser, "#pairs input[value='wrn_40_2/wrn_16_2']").click()
    keys(browser, "\ue00c")
    assert methods() == [name for name in whole if name != "crd"]
    choose(browser, "metric", "nll")
    [shown_now] = find(browser, ".statistics:not([hidden])")
    assert shown_now.get_attribute("data-metric") == "nll"


def test_statistics_are_printed_and_close_again(shown):
    browser = shown()
    browser.execute_script(
        "addEventListener('beforeprint', () => {"
        " window.printed = document.querySelectorAll('.statistics[open]').length })"
    )
    browser.execute_cdp_cmd("Page.printToPDF", {})
    assert browser.execute_script("return window.printed") == len(find(browser, ".statistics"))
    assert find(browser, ".statistics[open]") == []


def test_keys_alone_reach_numbers_heads_points_and_runs(shown):
    browser = shown()
    for selector in (".number", "#cost-chart .dot", ".run"):
        browser.execute_script("document.getElementById('all-records').open = true")
        target = one(browser, selector)
        browser.execute_script("arguments[0].focus()", target)
        assert browser.switch_to.active_element == target
        keys(browser, "\ue007")  # Enter
        assert one(browser, "#panel").is_displayed()
        keys(browser, "\ue00c")
    tabs = browser.execute_script(
        "return [...document.querySelectorAll('[tabindex]')].map(e => e.tabIndex)"
    )
    assert set(tabs) <= {0, -1}


def test_a_hole_tells_its_reason_in_the_panel(shown):
    browser = shown()
    one(browser, ".result:not([hidden]) tr[data-method=dcd] .number").click()
    assert "failed" in one(browser, "#panel").text
    assert "OutOfMemoryError: 8 GiB" in one(browser, "#panel").text
    keys(browser, "\ue00c")


def test_a_method_is_set_off_among_the_curves(shown):
    browser = shown()
    one(browser, "#curve-legend button[data-set-off=crd]").click()
    assert len(find(browser, "#curve-chart path.band")) == 1
    assert browser.switch_to.active_element.get_attribute("data-set-off") == "crd"
    assert len(find(browser, "#curve-chart path.line.faded")) == 4
    choose(browser, "curve-value", "loss")
    assert "do not compare" in one(browser, "#curve-caption").text
    choose(browser, "curve-epochs", "late")
    assert len(find(browser, "#curve-chart path.line")) == 5


@pytest.mark.parametrize("width", [320, 360, 768, 1600])
def test_the_page_fits_the_screen(shown, width):
    browser = shown()
    size(browser, width)
    settled(lambda: browser.execute_script("return innerWidth") == width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    one(browser, ".result:not([hidden]) .number").click()
    wide = browser.execute_script("return document.getElementById('panel').scrollWidth")
    assert wide <= width
    keys(browser, "\ue00c")


def test_dark_and_paper(shown):
    browser = shown()

    def paper(media, scheme):
        asked = {"media": media, "features": [{"name": SCHEME, "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    assert paper("", "light") == "rgb(253, 252, 250)"
    assert paper("", "dark") == "rgb(21, 23, 26)"
    assert paper("print", "dark") == "rgb(255, 255, 255)"
    assert not one(browser, "nav").is_displayed()
    assert one(browser, ".result:not([hidden]) table").is_displayed()


def test_hostile_texts_are_only_shown(shown):
    browser = shown(entries(HOSTILE), About(HOSTILE, HOSTILE))
    assert "<img src=x onerror=alert(1)>" in browser.title
    assert find(browser, "img") == []
    one(browser, ".result:not([hidden]) .methods .number").click()
    assert "<img src=x" in one(browser, "#panel").text
    assert find(browser, "img, b-evil") == []


def test_the_policy_stops_foreign_markup_and_scripts(browser, tmp_path):
    path = tmp_path / "suite.html"
    path.write_text(
        page(entries(), ABOUT).replace("</main>", "<script>window.evil = 1</script></main>"),
        "utf-8",
    )
    browser.get(path.as_uri())
    assert browser.execute_script("return window.evil") is None
    tried = "try { document.body.innerHTML = 'x'; } catch (e) { return e.name; }"
    assert browser.execute_script(tried) == "TypeError"
    assert any("script-src" in one["message"] for one in browser.get_log("browser"))


def test_everything_that_can_be_used_has_a_name(shown):
    browser = shown()
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    used = {"button", "combobox", "checkbox", "link", "table", "image", "region"}
    nameless = [
        node for node in tree
        if not node.get("ignored") and node.get("role", {}).get("value") in used
        and not node.get("name", {}).get("value", "").strip()
    ]  # fmt: skip
    assert nameless == []
