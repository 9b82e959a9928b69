"""Images: checked, stripped, rendered, served, removed."""

import base64
import io
import struct
import zlib

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from products import images
from products.models import ProductImage
from shop.jobs.models import Job
from shop.jobs.queue import run

pytestmark = pytest.mark.django_db

ORIENTATION, GPS = 0x0112, 0x8825


def picture(kind="JPEG", size=(800, 600), mode="RGB", colour="red", **options):
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, format=kind, **options)
    return out.getvalue()


def photographed():
    """A wide picture, taken with the camera on its side, somewhere."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "Camera maker"
    exif.get_ifd(GPS)[1] = "N"
    exif.get_ifd(GPS)[2] = (37.0, 33.0, 59.0)
    return picture(exif=exif.tobytes(), comment=b"taken at home")


def upload(client, product, content, name="picture.jpg", **fields):
    return client.post(
        f"/api/v2/products/{product.pk}/images",
        {"image": SimpleUploadedFile(name, content), **fields},
        format="multipart",
    )


def rendered():
    for pk in Job.objects.filter(task="products.optimise_image").values_list("pk", flat=True):
        run(pk)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_each_format_becomes_webp_and_avif_in_three_widths(client_of, clerk, make_product, kind):
    product = make_product()
    made = upload(client_of(clerk), product, picture(kind, (1600, 1200)), alt="앞면")
    assert made.status_code == 201, made.content
    assert (made.json()["state"], made.json()["alt"], made.json()["renditions"]) == (
        "pending",
        "앞면",
        [],
    )
    rendered()
    shown = client_of(None).get(f"/api/v2/products/{product.pk}").json()["images"]
    assert [image["id"] for image in shown] == [made.json()["id"]]
    assert {(r["format"], r["width"], r["height"]) for r in shown[0]["renditions"]} == {
        (form, width, width * 3 // 4) for form in ("webp", "avif") for width in (320, 640, 1280)
    }
    for rendition in shown[0]["renditions"]:
        served = client_of(None).get(rendition["url"])
        assert served["Content-Type"] == f"image/{rendition['format']}"
        assert "immutable" in served["Cache-Control"]
        assert len(served.content) == rendition["bytes"]
        with Image.open(io.BytesIO(served.content)) as opened:
            assert opened.format == rendition["format"].upper()
            assert opened.size == (rendition["width"], rendition["height"])
            # Still red: nothing was lost on the way.
            red, green, blue = opened.convert("RGB").getpixel((5, 5))
            assert red > 240 and green < 15 and blue < 15
    head, data = shown[0]["placeholder"].split(",")
    assert head == "data:image/webp;base64"
    assert len(data) < 1000
    assert Image.open(io.BytesIO(base64.b64decode(data))).width == 16


def test_a_small_picture_is_never_enlarged(client_of, clerk, make_product):
    upload(client_of(clerk), make_product(), picture(size=(400, 100)))
    rendered()
    widths = {found["width"] for found in ProductImage.objects.get().renditions}
    assert widths == {320, 400}


def test_metadata_never_reaches_the_disk_and_the_picture_stands_upright(
    client_of, clerk, make_product
):
    sent = photographed()
    assert b"Exif" in sent and b"taken at home" in sent
    made = upload(client_of(clerk), make_product(), sent).json()
    rendered()
    assert (made["width"], made["height"]) == (600, 800)
    image = ProductImage.objects.get()
    names = [image.file.name, *(found["name"] for found in image.renditions)]
    assert len(names) == 5
    for name in names:
        content = default_storage.open(name).read()
        for trace in (b"Exif", b"Camera maker", b"taken at home"):
            assert trace not in content
        with Image.open(io.BytesIO(content)) as opened:
            assert not opened.getexif()
            assert opened.height > opened.width


def test_what_hides_behind_a_picture_is_gone(client_of, clerk, make_product):
    upload(client_of(clerk), make_product(), picture("PNG") + b"PK<script>alert(1)</script>")
    assert b"<script>" not in ProductImage.objects.get().file.read()


def test_transparency_is_kept(client_of, clerk, make_product):
    upload(client_of(clerk), make_product(), picture("PNG", mode="RGBA", colour=(0, 0, 0, 0)))
    rendered()
    for found in ProductImage.objects.get().renditions:
        with Image.open(default_storage.open(found["name"])) as opened:
            assert opened.convert("RGBA").getpixel((5, 5))[3] == 0


def test_sixteen_bits_are_scaled_not_cut(client_of, clerk, make_product):
    grey = Image.new("I;16", (40, 40), 32768)
    out = io.BytesIO()
    grey.save(out, format="PNG")
    upload(client_of(clerk), make_product(), out.getvalue())
    with Image.open(ProductImage.objects.get().file) as opened:
        assert abs(opened.convert("L").getpixel((5, 5)) - 128) <= 1


def png_claiming(width, height):
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content",
    [
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        picture("GIF"),
        picture("TIFF"),
        picture("JPEG")[:400],
        picture("PNG")[:-40],
        picture("WEBP")[:60],
        png_claiming(60_000, 60_000),
        png_claiming(20_000, 10),
    ],
    ids=["text", "svg", "gif", "tiff", "cut jpeg", "cut png", "cut webp", "bomb", "too wide"],
)
def test_a_hostile_file_is_refused_and_leaves_nothing(
    client_of, clerk, make_product, content, settings
):
    answer = upload(client_of(clerk), make_product(), content)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_image")
    assert not ProductImage.objects.exists()
    assert not Job.objects.filter(task="products.optimise_image").exists()
    assert not settings.MEDIA_ROOT.exists()


def test_too_many_bytes(client_of, clerk, make_product, settings):
    settings.IMAGE_MAX_BYTES = 1000
    answer = upload(client_of(clerk), make_product(), picture())
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_image")


def test_too_many_pictures(client_of, clerk, make_product, settings):
    settings.IMAGES_PER_PRODUCT = 1
    product = make_product()
    upload(client_of(clerk), product, picture())
    answer = upload(client_of(clerk), product, picture())
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_images")
    assert ProductImage.objects.count() == 1
    folders = list((settings.MEDIA_ROOT / "products").iterdir())
    assert sum(len(list(folder.iterdir())) for folder in folders) == 1


def test_bad_forms_are_400(client_of, clerk, make_product):
    client, product = client_of(clerk), make_product()
    url = f"/api/v2/products/{product.pk}/images"
    assert client.post(url, {}, format="multipart").status_code == 400
    assert client.post(url, {"image": "text"}, format="multipart").status_code == 400
    assert client.post(url, {"image": 1}, format="json").status_code == 415
    unknown = upload(client, product, picture(), title="x")
    assert unknown.status_code == 400
    assert client.post("/api/v2/products/999/images", {}, format="multipart").status_code == 404


def test_only_the_catalogue_staff_write(client_of, alice, clerk, make_product):
    product = make_product()
    assert upload(client_of(None), product, picture()).status_code == 401
    assert upload(client_of(alice), product, picture()).status_code == 403
    assert not ProductImage.objects.exists()
    image = upload(client_of(clerk), product, picture()).json()["id"]
    url = f"/api/v2/products/{product.pk}/images"
    assert client_of(None).delete(f"{url}/{image}").status_code == 401
    assert client_of(alice).delete(f"{url}/{image}").status_code == 403
    assert len(client_of(None).get(url).json()["results"]) == 1


def test_pictures_stay_in_the_order_in_which_they_came(client_of, clerk, make_product):
    client, product = client_of(clerk), make_product()
    sent = [upload(client, product, picture()).json()["id"] for _ in range(3)]
    shown = client.get(f"/api/v2/products/{product.pk}/images").json()["results"]
    assert [image["id"] for image in shown] == sent


def test_removing_removes_the_files(
    client_of, clerk, make_product, settings, django_capture_on_commit_callbacks
):
    client, product, other = client_of(clerk), make_product(), make_product("의자")
    image = upload(client, product, picture()).json()["id"]
    rendered()
    url = f"/api/v2/products/{product.pk}/images/{image}"
    # Not of this product.
    wrong = f"/api/v2/products/{other.pk}/images/{image}"
    assert client.delete(wrong).status_code == 404
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete(url).status_code == 204
    assert not [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()]
    assert client.delete(url).status_code == 404
    assert client.delete(f"/api/v2/products/{product.pk}/images/x").status_code == 404


def test_the_job_may_run_twice_and_after_the_picture_is_gone(client_of, clerk, make_product):
    upload(client_of(clerk), make_product(), picture())
    image = ProductImage.objects.get()
    assert images.make_renditions(image.pk) == "6 renditions"
    before = ProductImage.objects.values_list("renditions", flat=True).get()
    ProductImage.objects.update(state="pending")
    assert images.make_renditions(image.pk) == "6 renditions"
    assert ProductImage.objects.values_list("renditions", flat=True).get() == before
    assert images.make_renditions(image.pk) == "made already"
    image.delete()
    assert images.make_renditions(image.pk) == "gone"


def test_detail_costs_one_query_however_many_images(
    client_of, clerk, make_product, django_assert_num_queries
):
    product = make_product()
    for _ in range(3):
        upload(client_of(clerk), product, picture(size=(10, 10)))
    from products.catalogue import read_product

    with django_assert_num_queries(1):
        read_product(product.pk)


@pytest.mark.parametrize(
    "name", ["../secret_key", "..%2fsecret_key", "products/x/original.jpg", "secret_key", "a\0.jpg"]
)
def test_nothing_else_is_served(client, name):
    assert client.get(f"/media/{name}").status_code in (400, 404)


def test_staff_add_and_remove_in_the_admin(client, clerk, make_product):
    product = make_product()
    client.force_login(clerk)
    url = f"/admin/products/product/{product.pk}/change/"

    def post(**fields):
        return client.post(
            url,
            {
                "name": product.name,
                "price": "10000",
                "seo-TOTAL_FORMS": "0",
                "seo-INITIAL_FORMS": "0",
                "images-TOTAL_FORMS": "1",
                "images-INITIAL_FORMS": "0",
                **fields,
            },
        )

    bad = post(
        **{"images-0-upload": SimpleUploadedFile("x.jpg", b"no picture"), "images-0-position": "0"}
    )
    assert "not a whole JPEG" in bad.content.decode()
    good = post(
        **{
            "images-0-upload": SimpleUploadedFile("x.jpg", picture()),
            "images-0-alt": "옆면",
            "images-0-position": "0",
        }
    )
    assert good.status_code == 302, good.context["errors"]
    rendered()
    image = ProductImage.objects.get()
    assert (image.alt, image.state, image.added_by) == ("옆면", "ready", clerk)
    page = client.get(url).content.decode()
    assert "avif 640" in page and "옆면" in page
    existing = {"images-INITIAL_FORMS": "1", "images-0-id": str(image.pk), "images-0-position": "3"}
    assert post(**existing, **{"images-0-alt": "뒷면"}).status_code == 302
    image.refresh_from_db()
    assert (image.alt, image.position) == ("뒷면", 3)
    assert post(**existing, **{"images-0-DELETE": "on"}).status_code == 302
    assert not ProductImage.objects.exists()
