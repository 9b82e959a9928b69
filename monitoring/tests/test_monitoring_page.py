"""The monitoring page in a browser: charts that move, and a rule that fires for a reason."""

import multiprocessing
import os
import time

import pytest

pytestmark = pytest.mark.browser


def burn(seconds):
    """Keep one core busy."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


_FIRING = """
return [...document.querySelectorAll("#alerts tr.firing")].map((row) => row.cells[0].textContent);
"""


@pytest.fixture
def busy():
    """Keep every core busy until the test is over, for two minutes at most."""
    fork = multiprocessing.get_context("spawn")
    burners = [fork.Process(target=burn, args=(120,)) for _ in range(os.cpu_count() or 1)]
    yield lambda: [burner.start() for burner in burners]
    for burner in burners:
        if burner.pid is not None:
            burner.terminate()
            burner.join()


def test_charts_move_and_a_rule_fires_when_the_cpu_is_burnt(page, open_shop, busy):
    open_shop.shell(
        "from monitoring.alerts import alert_manager;"
        "alert_manager.add_rule(name='Burning', metric_name='system.cpu.usage', condition='gt',"
        " threshold=85.0, window=20)"
    )
    page.sign_in("admin", "/monitoring/")
    page.until(lambda: page.text("#state").startswith("Live"), "live", 60)
    sampled = page.text("#state")
    page.until(lambda: page.text("#state") != sampled, "another sample", 60)
    cpu = '[data-metric="system.cpu.usage"]'
    assert float(page.text(f"{cpu} [data-figure=last]")) > 0
    assert page.all(f"{cpu} canvas")
    busy()
    page.until(
        # The page writes its tables anew meanwhile: read them in one go.
        lambda: "Burning" in page.driver.execute_script(_FIRING),
        "the rule fires",
        110,
    )
    page.picture("monitoring")


def test_customers_see_nothing_of_it(page):
    page.sign_in("alice", "/orders/00000000-0000-7000-8000-000000000000/track")
    page.complaints()
    page.go("/monitoring/")
    assert page.text("h1") == "Not allowed"
    assert all("403" in line for line in page.complaints())


def test_ready_answers_are_shown_and_emptied(page, open_shop):
    for _ in range(3):
        page.go("/api/v2/products?per_page=3")
    page.sign_in("admin", "/monitoring/")
    page.one("a[href='/monitoring/ready']").click()
    page.until(lambda: "per_page=3" in page.text("article"), "what is kept", 10)
    page.picture("ready")
    page.one("article form button").click()
    page.until(lambda: page.all(".message"), "told so", 10)
    assert "per_page=3" not in page.text("article")
