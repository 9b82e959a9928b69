"""The dashboard in a browser: a run that its button starts, shown as it goes on."""

import pytest

pytestmark = pytest.mark.browser


def test_the_button_starts_a_run_of_v1_against_v2(page):
    page.sign_in("admin", "/api/v2/benchmarks/dashboard")
    for name, value in {
        "iterations": "40",
        "users": "4",
        "products": "200",
        "orders": "50",
    }.items():
        field = page.one(f"#start [name={name}]")
        field.clear()
        field.send_keys(value)
    page.one("#start button").click()
    page.until(lambda: page.one("#progress").is_displayed(), "it goes on")
    page.picture("dashboard-running")
    page.until(lambda: page.all("#steps tr"), "a result", 180)
    steps = [
        [cell.text for cell in row.find_elements("tag name", "td")] for row in page.all("#steps tr")
    ]
    assert [step[:2] for step in steps] == [
        ["product.list", "v1"],
        ["product.list", "v2"],
        ["product.detail", "v1"],
        ["product.detail", "v2"],
    ]
    assert all(float(step[2].replace(",", "")) > 0 for step in steps)
    assert page.all("#distributions canvas")
    page.until(lambda: page.all("#trends canvas"), "the trend")
    page.one("#compare button").click()
    page.until(lambda: page.all("#compared tr"), "compared with itself")
    page.picture("dashboard")
