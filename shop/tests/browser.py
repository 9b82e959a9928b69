"""The pages in a real browser, on the shop as `make run` starts it.

`make browser` sets SHOP_BROWSER_TESTS and runs what is marked `browser`;
elsewhere those tests are skipped. Needs Chromium and its driver, of one
version, and a font with Hangul. SHOP_SCREENSHOTS names a folder for pictures.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.arena import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
# Nothing is asked of the network but the shop.
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1400",
)
_PATIENCE = 30


class OpenShop:
    """A shop that runs, embedded, with its people's passwords."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, data: Path, said: str) -> None:
        self.process = process
        self.url = url
        self._environment = embedded(data)
        self.passwords = dict(re.findall(r"^  (\w+) +(\S{12})$", said, re.MULTILINE))

    def manage(self, *words: str) -> str:
        """Run manage.py on this shop's data; return what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout.strip()

    def shell(self, code: str) -> str:
        """Run code as `manage.py shell -c` does; return what it prints."""
        return self.manage("shell", "-v", "0", "-c", code)


def embedded(data: Path) -> dict[str, str]:
    """Return the environment of a newcomer's first start, with data in `data`."""
    services = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "SHOP_ENV", "METRICS_DIR")
    kept = {name: value for name, value in os.environ.items() if name not in services}
    return {**kept, "DATA_DIR": str(data)}


@pytest.fixture(scope="session")
def open_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenShop]:
    """Start the shop once for all pages."""
    data, port = tmp_path_factory.mktemp("shop"), free_port()
    log = data / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "start"],
            cwd=ROOT,
            env={**embedded(data), "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        if "Ctrl-C ends it" in line:
            break
    else:
        raise AssertionError("it ended before it was open:\n" + log.read_text()[-4000:])
    yield OpenShop(process, f"http://127.0.0.1:{port}", data, "".join(seen))
    ended = process.poll()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert ended is None, (
        f"it ended with {ended} while it was looked at:\n{log.read_text()[-8000:]}"
    )


class Page:
    """One browser window."""

    def __init__(self, driver: webdriver.Chrome, shop: OpenShop, name: str) -> None:
        self.driver = driver
        self.shop = shop
        self._name = name

    def go(self, path: str) -> None:
        """Open a page of the shop."""
        self.driver.get(self.shop.url + path)

    def sign_in(self, name: str, path: str) -> None:
        """Sign in as one of the demo's people and go on to `path`."""
        self.go(f"/accounts/login?next={path}")
        self.one("#id_username").send_keys(name)
        self.one("#id_password").send_keys(self.shop.passwords[name])
        self.one("main form button").click()
        self.until(lambda: self.driver.current_url == self.shop.url + path, f"signed in as {name}")

    def one(self, selector: str) -> WebElement:
        """Return the first element that a CSS selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Return every element that it finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return what an element says."""
        return self.one(selector).text

    def until(self, true: Callable[[], Any], what: str, seconds: float = _PATIENCE) -> float:
        """Wait until something is so; return for how many seconds."""
        began = time.monotonic()
        WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: true(), what)
        return time.monotonic() - began

    def picture(self, name: str) -> None:
        """Keep a screenshot of the whole page, where SHOP_SCREENSHOTS says so."""
        folder = os.environ.get("SHOP_SCREENSHOTS")
        if folder:
            height = self.driver.execute_script("return document.documentElement.scrollHeight")
            self.driver.set_window_size(1280, max(600, min(int(height) + 150, 4000)))
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def complaints(self) -> list[str]:
        """Return the console's errors: scripts that broke, and what the policy forbade."""
        log: Any = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@pytest.fixture
def page(open_shop: OpenShop, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a browser without a past; its console must stay clean.

    It asks for English, or for the language that is its parameter.
    """
    options = webdriver.ChromeOptions()
    for flag in (*_FLAGS, f"--accept-lang={getattr(request, 'param', 'en')}"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        window = Page(driver, open_shop, request.node.name)
        yield window
        assert window.complaints() == []
    finally:
        driver.quit()
