"""Headless Chromium, driven by selenium: how it is started, and what a test does with it."""

import shutil
import time
from importlib.resources import files
from importlib.util import find_spec

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and find_spec("selenium")),
    reason="needs selenium, and chromium with its driver (Debian: chromium chromium-driver)",
)
needs_axe = pytest.mark.skipif(
    not find_spec("axe_playwright_python"), reason="needs axe-playwright-python for axe.min.js"
)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,1000",
)  # fmt: skip


def started(profile):
    """The driver of a browser with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, Service(DRIVER))


def size(browser, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def dark(driver, is_dark):
    """Let pages see that their reader prefers dark colours, or light ones."""
    value = "dark" if is_dark else "light"
    feature = {"name": "prefers-color-scheme", "value": value}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})


def violations(browser) -> list[str]:
    """The rules of axe-core that a page breaks, with the elements that break them."""
    script = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
    browser.execute_script(script)
    result = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations'], preload: false})"  # preload would fetch
        ".then(done, (error) => done({error: `${error}`}))"
    )
    assert "error" not in result, result
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in result["violations"]
        for node in rule["nodes"][:3]
    ]


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def one(browser, selector):
    return browser.find_element("css selector", selector)


def rows(browser):
    """The methods of the table that is shown, from the top, without those hidden."""
    found = find(browser, ".result:not([hidden]) .methods tr:not([hidden])")
    return [row.get_attribute("data-method") for row in found]


def keys(browser, *pressed):
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*pressed).perform()


def choose(browser, name, value):
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", name)).select_by_value(value)


def settled(condition):
    """Wait for what the next frame draws."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
