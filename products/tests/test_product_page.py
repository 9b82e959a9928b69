"""A product's page of the admin in a browser: a suggestion accepted, an image made small."""

import pytest
from PIL import Image

pytestmark = pytest.mark.browser


def test_a_suggestion_is_accepted_and_an_image_gets_its_renditions(page, open_shop, tmp_path):
    picture = tmp_path / "가방.jpg"
    Image.linear_gradient("L").resize((1600, 1200)).convert("RGB").save(picture)
    pk = open_shop.shell(
        "from decimal import Decimal; from products.actions import create_product;"
        "from products.models import Category;"
        "print(create_product(actor=None, name='가죽 백팩 15인치', price=Decimal(89000),"
        " stock_quantity=3, category=Category.objects.order_by('path').first()).pk)"
    )
    url = f"/admin/products/product/{pk}/change/"
    page.sign_in("clerk", url)
    page.one("#id_images-0-upload").send_keys(str(picture))
    page.one("#id_images-0-alt").send_keys("검은 가방")
    page.one("[name=_continue]").click()
    page.until(lambda: page.all(".messagelist .success"), "saved")

    def renditions():
        page.go(url)
        return page.all("#images-group td.field-made a")

    page.until(lambda: len(renditions()) == 6, "six renditions", 60)
    page.one("form[action$=analyse\\/] button").click()
    page.until(lambda: page.all("[name=decision][value=accept]"), "suggestions")
    page.picture("product-analysis")
    button = page.one("[name=decision][value=accept]")
    where = button.find_element("xpath", "ancestor::form").get_attribute("action")
    button.click()
    page.until(lambda: page.all(".messagelist .success"), "accepted")
    # A job may have suggested something else meanwhile; this one is decided.
    open_now = [form.get_attribute("action") for form in page.all("form[action*=suggestions]")]
    assert where not in open_now
    page.picture("product")
