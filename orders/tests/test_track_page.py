"""The track page in a browser: changes appear by themselves, whoever makes them."""

import json
import urllib.request

import pytest

pytestmark = pytest.mark.browser


def call(shop, person, path, data):
    """POST to the API as one of the demo's people."""
    token = shop.manage("api_token", person).split()[-1]
    request = urllib.request.Request(
        f"{shop.url}/api/v2/{path}",
        json.dumps(data).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture
def order(open_shop):
    """An order of alice's."""
    with urllib.request.urlopen(
        f"{open_shop.url}/api/v2/products?in_stock=true&per_page=1", timeout=30
    ) as answer:
        product = json.load(answer)["results"][0]
    return call(
        open_shop,
        "alice",
        "orders",
        {
            "items": [{"product_id": product["id"], "quantity": 1}],
            "shipping_address": {"street": "세종대로 110", "city": "서울", "postal_code": "04524"},
        },
    )


def live(page):
    page.until(lambda: page.one("#connection").get_attribute("class") == "live", "live")


def status(page, wanted):
    return page.until(lambda: page.text("#status") == wanted, f"it says {wanted}")


def test_changes_of_the_api_the_shell_and_the_admin_appear(page, order, open_shop):
    url = f"/orders/{order['id']}/track"
    page.sign_in("alice", url)
    assert page.text("#status") == "pending"
    live(page)
    page.picture("track-pending")

    call(open_shop, "clerk", f"orders/{order['id']}/transitions", {"status": "paid"})
    status(page, "paid")
    open_shop.shell(
        "from orders.actions import move_order; from orders.states import Status;"
        f"move_order(order_id='{order['id']}', to=Status.PROCESSING, actor=None)"
    )
    status(page, "processing")

    mine = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.driver.delete_all_cookies()
    page.sign_in("clerk", f"/admin/orders/order/{order['id']}/change/")
    page.one("[name=carrier]").send_keys("한진택배")
    page.one("[name=tracking_number]").send_keys("1234-5678")
    page.one("button[name=status][value=shipped]").click()
    page.until(lambda: page.all(".messagelist .success"), "moved")
    page.picture("order-in-the-admin")
    page.driver.switch_to.window(mine)

    status(page, "shipped")
    assert page.text("#carrier") == "한진택배"
    assert page.text("#tracking_number") == "1234-5678"
    names = [name.text for name in page.all("#events strong")]
    assert names == ["order placed", "paid", "processing", "shipped"]
    assert page.text(".steps [aria-current]") == "shipped"
    page.picture("track-shipped")


@pytest.mark.parametrize("page", ["ko"], indirect=True)
def test_in_korean_it_changes_by_itself_and_in_korean(page, order, open_shop):
    page.sign_in("alice", f"/orders/{order['id']}/track")
    assert page.one("html").get_attribute("lang") == "ko"
    assert page.text("#status") == "결제 대기"
    live(page)
    assert page.text("#connection") == "실시간 연결됨: 변경 사항이 자동으로 표시됩니다."
    call(open_shop, "clerk", f"orders/{order['id']}/transitions", {"status": "paid"})
    status(page, "결제 완료")
    assert page.text("#next") == "상품 준비 중"
    call(open_shop, "clerk", f"orders/{order['id']}/transitions", {"status": "processing"})
    call(
        open_shop,
        "clerk",
        f"orders/{order['id']}/transitions",
        {"status": "shipped", "carrier": "한진택배", "tracking_number": "1234-5678"},
    )
    status(page, "배송 중")
    names = [name.text for name in page.all("#events strong")]
    assert names == ["주문 접수", "결제 완료", "상품 준비 중", "배송 중"]
    assert page.text(".steps [aria-current]") == "배송 중"
    assert page.text("tfoot tr:last-child td").endswith("원")
    page.picture("track-in-korean")

    page.one(".languages [value=en]").click()
    page.until(lambda: page.text("#status") == "shipped", "in English")
    live(page)
    assert page.text("#events li:last-child strong") == "shipped"


_KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...args) { super(...args); window.sockets.push(this); }
};
"""


def test_after_a_break_the_page_asks_for_what_it_missed(page, order, open_shop):
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _KEEP_SOCKETS})
    page.sign_in("alice", f"/orders/{order['id']}/track")
    live(page)
    page.driver.set_network_conditions(
        offline=True, latency=0, download_throughput=0, upload_throughput=0
    )
    page.driver.execute_script("sockets.forEach((socket) => socket.close())")
    page.until(lambda: page.one("#connection").get_attribute("class") == "lost", "lost")
    for to in ("paid", "processing"):
        call(open_shop, "clerk", f"orders/{order['id']}/transitions", {"status": to})
    # While it is away, attempts fail, and the console says so.
    page.until(lambda: page.driver.execute_script("return sockets.length > 1"), "tried again")
    assert page.text("#status") == "pending"
    assert all("ERR_INTERNET_DISCONNECTED" in line for line in page.complaints())
    page.driver.delete_network_conditions()
    status(page, "processing")
    assert len(page.all("#events li")) == 3
    live(page)
    assert all("ERR_INTERNET_DISCONNECTED" in line for line in page.complaints())


def test_it_is_read_without_a_script(page, order):
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.sign_in("alice", f"/orders/{order['id']}/track")
    assert page.text("#status") == "pending"
    assert len(page.all("#events li")) == 1
    assert page.text("#connection") == "Load the page again to see what is new."
