"""A browser for tests: opens a page, and says what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

NARROW, WIDE = 360, 1200
MOST_TABS = 400

# Elements that reach beyond the window, but for what is in a box that scrolls by itself, or in a drawer
# that waits beside the window.
CUT_OFF = """
const scrolls = (one) => {
  for (let at = one; at && at !== document.body; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (style.position === "fixed") return true;
    if (at !== one && ["auto", "scroll", "hidden", "clip"].includes(style.overflowX)) return true;
  }
  return false;
};
const wide = [...document.body.querySelectorAll("*")].filter((one) => {
  const box = one.getBoundingClientRect();
  const style = getComputedStyle(one);
  if (!box.width || !box.height || style.visibility === "hidden") return false;
  return (box.right > innerWidth + 1 || box.left < -1) && !scrolls(one);
}).map((one) => one.outerHTML.slice(0, 120));
const page = document.documentElement.scrollWidth;
return page > innerWidth + 1 ? [`the page is ${page} wide`, ...wide] : wide;
"""

# Texts whose colour is too near to what is behind them, by WCAG's AA.
FAINT = """
const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const paint = (colour, under) => {
  context.fillStyle = `rgb(${under.join(",")})`; context.fillRect(0, 0, 1, 1);
  context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (rgb) => {
  const [r, g, b] = rgb.map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (one) => {
  const all = [];
  for (let at = one; at; at = at.parentElement) all.unshift(getComputedStyle(at).backgroundColor);
  return all.reduce((under, colour) => paint(colour, under), paint("Canvas", [255, 255, 255]));
};
const found = [];
for (const one of document.body.querySelectorAll("*")) {
  const own = [...one.childNodes].filter((n) => n.nodeType === 3);
  const text = own.map((n) => n.data.trim()).join(" ").trim();
  const style = getComputedStyle(one);
  if (!text || !one.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
  if (["SCRIPT", "STYLE", "NOSCRIPT", "TITLE", "DESC"].includes(one.tagName.toUpperCase())) continue;
  if (one.closest("[disabled], [aria-hidden=true]")) continue;
  const under = behind(one);
  const colour = one instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [light(paint(colour, under)), light(under)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${text.slice(0, 60)}`);
}
return [...new Set(found)];
"""

CONTROLS = """
const within = arguments[0] ? document.querySelector(arguments[0]) : document.body;
const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]";
window.controls = [...within.querySelectorAll(wanted)].filter((one) => {
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  return one.tabIndex >= 0 && !one.disabled && box.width > 1 && box.height > 1
    && one.checkVisibility({ visibilityProperty: true });
});
return window.controls.length;
"""
REACHED = "return window.controls.indexOf(document.activeElement)"


class Browser:
    """A headless Chromium; the lists name what a person could not see or use."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = WIDE, height: int = 900, is_dark: bool = False) -> None:
        """Open a page in a window of that width, and forget what pages before it did."""
        self.show(width, height, is_dark=is_dark)
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(url)

    def show(self, width: int, height: int = 900, *, is_dark: bool = False) -> None:
        """Give the window another width or the other colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def list_errors(self) -> list[str]:
        """What the console has of errors since the page was opened."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and "favicon.ico" not in entry["message"]
        ]

    def list_requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened, without what is in the page."""
        messages = (json.loads(one["message"])["message"] for one in self.driver.get_log("performance"))
        urls = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "blob:", "about:"))]

    def list_cut_off(self) -> list[str]:
        found: list[str] = self.driver.execute_script(CUT_OFF)
        return found

    def list_faint(self) -> list[str]:
        found: list[str] = self.driver.execute_script(FAINT)
        return found

    def list_unreached(self, within: str = "") -> list[str]:
        """The controls that the tab key does not come to."""
        many = self.driver.execute_script(CONTROLS, within)
        reached: set[int] = set()
        for _ in range(min(many * 2 + 20, MOST_TABS)):
            self.driver.switch_to.active_element.send_keys(Keys.TAB)
            reached.add(self.driver.execute_script(REACHED))
            if len(reached - {-1}) == many:
                break
        left = sorted(set(range(many)) - reached)
        script = "return arguments[0].map((at) => window.controls[at].outerHTML.slice(0, 120))"
        unreached: list[str] = self.driver.execute_script(script, left)
        return unreached

    def find(self, css: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def text(self) -> str:
        text: str = self.driver.find_element(By.TAG_NAME, "body").text
        return text

    def button(self, words: str) -> Any:
        """The first button that is shown and has these words on it, or as its label."""
        buttons = self.driver.find_elements(By.CSS_SELECTOR, "button, [role=button]")
        return next(
            one
            for one in buttons
            if one.is_displayed() and words in (one.text, one.get_attribute("aria-label"))
        )

    def save(self, path: Path) -> None:
        """Keep what is shown as a small PNG."""
        from PIL import Image

        self.driver.save_screenshot(str(path))
        Image.open(path).convert("RGB").quantize(96).save(path, optimize=True)


@contextmanager
def start_browser() -> Iterator[Browser]:
    """A browser; raises `LookupError` where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        raise LookupError("There is no chromium with its chromedriver (Debian: chromium-driver).")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(running)
    finally:
        running.quit()
