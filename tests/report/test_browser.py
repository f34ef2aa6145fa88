"""The page in a real browser: headless Chromium, driven by selenium, from a file."""

import pytest
from page_factory import HOSTILE, entries
from screen import choose, find, keys, needs_browser, one, rows, settled, size, started
from test_page import page

from bench.report.model import TableContext

pytestmark = [pytest.mark.slow, needs_browser]
ABOUT = TableContext("Probe", "In a browser.")
SCHEME = "prefers-color-scheme"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = started(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def shown(browser, tmp_path):
    """The browser with a page; whatever it complained about afterwards fails the test."""

    def show(built=None, about=ABOUT):
        path = tmp_path / "suite.html"
        path.write_text(page(built or entries(), about), "utf-8")
        browser.get(path.as_uri())
        return browser

    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    size(browser, 1280)
    yield show
    assert browser.get_log("browser") == []


def test_page_is_complete_and_loads_nothing(shown):
    browser = shown()
    assert browser.title == "Probe"
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert rows(browser) == ["kd", "at", "crd", "wcord", "dcd"]
    assert len(find(browser, ".chart:not([hidden]) svg")) == 6  # 2 pairs: curves, loss, cost
    fill = "return getComputedStyle(document.querySelector('svg path[stroke]')).stroke"
    assert browser.execute_script(fill).startswith("rgb")


def test_a_number_opens_its_record(shown):
    browser = shown()
    one(browser, ".result:not([hidden]) tr[data-method=crd] .number").click()
    [record] = find(browser, ".record[open]")
    settled(record.is_displayed)
    assert record.get_attribute("id") == "run-wrn_40_2/wrn_16_2crd0"
    assert "torch\n2.15.0" in record.text
    assert browser.switch_to.active_element == record.find_element("css selector", "summary")


def test_keys_alone_reach_numbers_and_records(shown):
    browser = shown()
    number = one(browser, ".result:not([hidden]) tr[data-method=dcd] .number")
    browser.execute_script("arguments[0].focus()", number)
    keys(browser, "\ue007")  # Enter
    settled(lambda: find(browser, ".record[open]"))
    assert "OutOfMemoryError: 8 GiB" in one(browser, ".record[open]").text


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
    charts = find(browser, "#cost .chart:not([hidden])")
    assert all("NLL" in chart.get_attribute("aria-label") for chart in charts)


def test_methods_and_pairs_can_be_hidden_everywhere(shown):
    browser = shown()
    find(browser, ".filter summary")[0].click()
    one(browser, "#methods input[value=crd]").click()
    assert rows(browser) == ["kd", "at", "wcord", "dcd"]
    assert one(browser, "#methods-count").text == "5 of 6"
    keys(browser, "\ue00c")  # Escape
    assert not find(browser, ".filter[open]")
    find(browser, ".filter summary")[1].click()
    one(browser, "#pairs input[value='wrn_40_2/wrn_16_2']").click()
    heads = find(browser, ".result:not([hidden]) thead th:not([hidden])")
    assert len(heads) == 2
    assert "ShuffleNetV2" in heads[1].text
    assert len(find(browser, ".chart:not([hidden])")) == 3


def test_statistics_go_with_metric_methods_and_pairs(shown):
    browser = shown()
    [statistics] = find(browser, ".statistics:not([hidden])")
    assert statistics.get_attribute("data-metric") == "top1"
    statistics.find_element("css selector", "summary").click()

    def methods():
        result = find(
            browser, ".statistics:not([hidden]) section:not([hidden])[data-pair] tbody tr"
        )
        return [row.get_attribute("data-method") for row in result if row.is_displayed()]

    every = ["ce", "kd", "at", "crd", "wcord", "dcd"]
    assert methods() == every * 2
    find(browser, ".filter summary")[0].click()
    one(browser, "#methods input[value=crd]").click()
    keys(browser, "\ue00c")
    find(browser, ".filter summary")[1].click()
    one(browser, "#pairs input[value='wrn_40_2/wrn_16_2']").click()
    keys(browser, "\ue00c")
    assert methods() == [name for name in every if name != "crd"]
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


@pytest.mark.parametrize("width", [320, 360, 768, 1600])
def test_the_page_fits_the_screen(shown, width):
    browser = shown()
    size(browser, width)
    settled(lambda: browser.execute_script("return innerWidth") == width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    one(browser, ".result:not([hidden]) .number").click()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_dark_and_paper(shown):
    browser = shown()

    def paper(media, scheme):
        chosen = {"media": media, "features": [{"name": SCHEME, "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", chosen)
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    assert paper("", "light") == "rgb(253, 252, 250)"
    assert paper("", "dark") == "rgb(21, 23, 26)"
    assert paper("print", "dark") == "rgb(255, 255, 255)"
    assert not one(browser, "nav").is_displayed()
    assert one(browser, ".result:not([hidden]) table").is_displayed()


def test_hostile_texts_are_only_shown(shown):
    browser = shown(entries(HOSTILE), TableContext(HOSTILE, HOSTILE))
    assert "<img src=x onerror=alert(1)>" in browser.title
    assert find(browser, "img") == []
    one(browser, ".result:not([hidden]) .methods .number").click()
    settled(lambda: find(browser, ".record[open]"))
    assert "<img src=x" in one(browser, ".record[open]").text
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
