"""Pictures of products: checked, stripped and kept; renditions are made by a job.

What is kept is never what was sent: every picture is decoded and written
anew, turned upright, without metadata (where it was taken, by which camera)
and without whatever else was hidden in the file.
"""

import base64
import io
import logging
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from products.models import Product, ProductImage, look_after_commit
from shop.accounts.models import User
from shop.errors import BadRequest, ShopError
from shop.ids import uuid7
from shop.jobs.queue import enqueue
from shop.prepared import Prepared

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

# What is read, with the file name's suffix. Pillow tries no other decoder.
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}
# The longest side that WebP can hold.
MAX_SIDE = 16_383
WIDTHS = (320, 640, 1280)
_PLACEHOLDER_WIDTH = 16
_QUALITY: dict[str, dict[str, Any]] = {
    # Nearly as sent: renditions are made from it.
    "JPEG": {"quality": 92, "optimize": True, "progressive": True},
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 92, "method": 2},
    "AVIF": {"quality": 85, "speed": 8},
}
_RENDITIONS: dict[str, dict[str, Any]] = {
    "webp": {"format": "WEBP", "quality": 80, "method": 4},
    "avif": {"format": "AVIF", "quality": 60, "speed": 7},
}


class BadImage(BadRequest):
    """Not a picture that the shop can show."""

    code = "bad_image"
    title = gettext_noop("Bad image")


class TooManyImages(ShopError):
    """A product has as many pictures as it may have."""

    code = "too_many_images"
    title = gettext_noop("Too many images")


@dataclass(frozen=True)
class Picture:
    """An upload that was found good: clean bytes in one of FORMATS, sizes in pixels."""

    content: bytes
    format: str
    width: int
    height: int


def read_upload(file: BinaryIO, size: int) -> Picture:
    """Check an uploaded file of `size` bytes and return it without metadata.

    Raises:
        BadImage: too large, too many pixels, or not a whole picture in one of FORMATS.
    """
    if size > settings.IMAGE_MAX_BYTES:
        raise BadImage(_("An image has at most %d bytes.") % settings.IMAGE_MAX_BYTES, size=size)
    # Here, since most web processes never see a picture and it costs memory.
    from PIL import Image

    try:
        # Opening reads the header only; the picture is not decoded before its
        # size is known.
        with Image.open(file, formats=list(FORMATS)) as image:
            _check_size(image.width, image.height)
            clean = _upright(image)
            kind = image.format or ""
        return Picture(_encode(clean, kind, _QUALITY[kind]), kind, clean.width, clean.height)
    except BadImage:
        raise
    # Decoders fail in every way there is; whatever it was, it came from the file.
    except Exception as error:
        logger.info("image refused", extra={"reason": f"{type(error).__name__}: {error}"})
        raise BadImage(_("This is not a whole JPEG, PNG, WebP or AVIF image.")) from error


def _check_size(width: int, height: int) -> None:
    if width * height > settings.IMAGE_MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise BadImage(
            _("An image has at most %(pixels)d pixels, and %(side)d on a side.")
            % {"pixels": settings.IMAGE_MAX_PIXELS, "side": MAX_SIDE},
            width=width,
            height=height,
        )


def _upright(image: "Image") -> "Image":
    """Decode the first frame in sRGB, turned as the camera was held, with no metadata."""
    from PIL import Image, ImageCms, ImageOps

    image.load()
    profile = image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        # 16 bits a pixel: a plain conversion would cut off, not scale.
        upright = upright.point(lambda value: value * (1 / 256)).convert("L")
    mode = "RGBA" if upright.has_transparency_data else "RGB"
    if profile and upright.mode in ("RGB", "RGBA", "CMYK", "L"):
        try:
            converted = ImageCms.profileToProfile(
                upright,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode=mode if upright.mode != "L" else "L",
            )
        except (ImageCms.PyCMSError, OSError):
            converted = None
        upright = converted or upright
    upright = upright.convert(mode)
    # A new picture: nothing of the old one's info is carried along.
    clean = Image.new(mode, upright.size)
    clean.paste(upright)
    return clean


def _encode(image: "Image", kind: str, options: dict[str, Any]) -> bytes:
    if kind == "JPEG" and image.mode != "RGB":
        image = image.convert("RGB")
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def add_image(
    *, product_id: int, picture: Picture, alt: str = "", actor: User | None
) -> ProductImage:
    """Keep a picture of a product; a job makes its renditions after the commit.

    Raises:
        Product.DoesNotExist: no such product.
        TooManyImages: there are IMAGES_PER_PRODUCT of them.
    """
    image_id = uuid7()
    name = f"products/{image_id}/original.{FORMATS[picture.format]}"
    saved = default_storage.save(name, ContentFile(picture.content))
    try:
        with transaction.atomic():
            # The row is locked so that of two uploads at once each gets its own place.
            Product.objects.select_for_update(no_key=True).only("pk").get(pk=product_id)
            held = ProductImage.objects.filter(product_id=product_id)
            if held.count() >= settings.IMAGES_PER_PRODUCT:
                raise TooManyImages(
                    _("A product has at most %d images.") % settings.IMAGES_PER_PRODUCT
                )
            last = held.aggregate(last=Max("position"))["last"]
            image = ProductImage.objects.create(
                id=image_id,
                product_id=product_id,
                file=saved,
                width=picture.width,
                height=picture.height,
                alt=alt,
                position=0 if last is None else last + 1,
                added_by=actor,
            )
            enqueue("products.optimise_image", image_id=str(image_id))
    except BaseException:
        default_storage.delete(saved)
        raise
    return image


def make_renditions(image_id: UUID) -> str:
    """Make a picture's renditions; safe to run twice, since their names are fixed.

    Returns a line on what was made. A picture that is gone needs none.
    """
    from PIL import Image

    image = ProductImage.objects.filter(pk=image_id).first()
    if image is None:
        return "gone"
    made: list[dict[str, Any]] = []
    if image.state == ProductImage.State.READY:
        return "made already"
    with image.file.open("rb") as file, Image.open(file, formats=list(FORMATS)) as original:
        original.load()
        widths = sorted({min(width, original.width) for width in WIDTHS})
        for width in widths:
            height = max(1, round(original.height * width / original.width))
            small = original.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
            for suffix, options in _RENDITIONS.items():
                name = f"{image.folder}/{width}.{suffix}"
                content = _encode(small, options["format"], _without_format(options))
                _replace(name, content)
                made.append(
                    {
                        "name": name,
                        "format": suffix,
                        "width": width,
                        "height": height,
                        "bytes": len(content),
                    }
                )
        placeholder = _placeholder(original)
    with transaction.atomic():
        changed = ProductImage.objects.filter(pk=image_id).update(
            renditions=made, placeholder=placeholder, state=ProductImage.State.READY
        )
        look_after_commit()
    if not changed:
        # Removed meanwhile, and with it the files that were there then.
        for rendition in made:
            default_storage.delete(rendition["name"])
        return "gone"
    return f"{len(made)} renditions"


def _without_format(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "format"}


def _replace(name: str, content: bytes) -> None:
    default_storage.delete(name)
    saved = default_storage.save(name, ContentFile(content))
    if saved != name:
        # Another run of the same job wrote it in between: the same bytes.
        default_storage.delete(saved)


def _placeholder(image: "Image") -> str:
    """Return a picture of a few hundred bytes as a data: address, to show while loading."""
    height = max(1, min(64, round(image.height * _PLACEHOLDER_WIDTH / image.width)))
    tiny = image.resize((_PLACEHOLDER_WIDTH, height), reducing_gap=2.0)
    content = _encode(tiny, "WEBP", {"quality": 40, "method": 6})
    return "data:image/webp;base64," + base64.b64encode(content).decode()


COLUMNS = (
    "pk", "alt", "position", "state", "file", "width", "height", "placeholder", "renditions",
)  # fmt: skip


@cache
def _images_of() -> Prepared:
    rows = ProductImage.objects.filter(product_id=0).order_by("position", "pk")
    return Prepared(rows.values_list(*COLUMNS))


def read_images(product_id: int) -> list[dict[str, Any]]:
    """Return a product's pictures as the API shows them, in order. One query."""
    return [as_json(row) for row in _images_of().fetch(product_id)]


def image_json(image: ProductImage) -> dict[str, Any]:
    """Return one picture as the API shows it."""
    return as_json(ProductImage.objects.values_list(*COLUMNS).get(pk=image.pk))


def as_json(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a row of COLUMNS as the API shows a picture."""
    pk, alt, position, state, name, width, height, placeholder, renditions = row
    return {
        "id": str(pk),
        "alt": alt,
        "position": position,
        "state": state,
        "url": default_storage.url(name),
        "width": width,
        "height": height,
        "placeholder": placeholder or None,
        "renditions": [
            {
                "format": rendition["format"],
                "width": rendition["width"],
                "height": rendition["height"],
                "bytes": rendition["bytes"],
                "url": default_storage.url(rendition["name"]),
            }
            for rendition in renditions
        ],
    }
