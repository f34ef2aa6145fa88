"""`python -m tests.report.picture`: the picture of a table in README, from the committed page."""

import tempfile
from pathlib import Path

from tests.report import screen

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "results" / "cifar100_small" / "cifar100_small-part.html"
PICTURE = ROOT / "docs" / "images" / "cifar100_small.png"
WIDTH, HEIGHT = 560, 1600  # pixels


def main() -> None:
    """Take a screenshot of the table and its caption."""
    with tempfile.TemporaryDirectory() as profile:
        browser = screen.started(profile)
        try:
            metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 2, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            browser.get(PAGE.as_uri())
            PICTURE.parent.mkdir(exist_ok=True)
            screen.one(browser, ".result:not([hidden])").screenshot(str(PICTURE))
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
