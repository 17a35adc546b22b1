"""Draw the first page of a running backend for the README, as a headless Chromium shows it: a few seconds.

make demo                                                              # in another terminal, until it is ready
python -m benchmarks.page_picture http://127.0.0.1:9090 docs/page.png  # the file has about 100 kB
"""

import shutil
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WIDTH_PX, HEIGHT_PX = 1080, 1240
COLOURS = 128  # a page has few, and a palette makes the file a third as large
SETTLE_S = 2.0


def main(url: str, file: Path) -> None:
    """Write the picture of the page at an address."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (
        "--headless",
        "--no-sandbox",
        f"--window-size={WIDTH_PX},{HEIGHT_PX}",
        "--force-device-scale-factor=1",
    ):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        metrics = {"width": WIDTH_PX, "height": HEIGHT_PX, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        chrome.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        chrome.get(url)
        time.sleep(SETTLE_S)
        chrome.save_screenshot(str(file))
    finally:
        chrome.quit()
    Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
