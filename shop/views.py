"""The front page, the API's schema, and uploaded files."""

import functools
import threading
from pathlib import PurePosixPath

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils.translation import get_language
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from shop.inputs import NoQuery, read_query
from shop.rest import dump_json


@require_safe
def front_page(request: HttpRequest) -> HttpResponse:
    """Say what runs here and where to go."""
    return render(
        request,
        "front_page.html",
        {"shop_name": settings.SHOP_NAME, "services": settings.SERVICES},
    )


@require_safe
def icon(request: HttpRequest) -> HttpResponse:
    """Send browsers to the icon, by the name that it has been collected under."""
    return redirect(static("shop/icon.svg"))


_describing = threading.Lock()


@functools.cache
def _described(language: str) -> bytes:
    made = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return dump_json(made)


class SchemaView(APIView):
    """The OpenAPI schema.

    It is made once for each language. drf-spectacular takes some hundred
    milliseconds of the processor for it, and fails where two begin at once.
    """

    permission_classes = (AllowAny,)
    # It does not describe itself.
    schema = None

    def get(self, request: Request) -> HttpResponse:
        """Answer with the schema in the caller's language."""
        read_query(request, NoQuery)
        with _describing:
            body = _described(get_language() or settings.LANGUAGE_CODE)
        return HttpResponse(body, content_type="application/vnd.oai.openapi+json")


# All that is ever kept, whatever a file may claim to be.
_MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".avif": "image/avif",
}
# A page asks for many small files at once; streams have a small pool of their own.
_STREAMED_FROM = 2 * 1024 * 1024


@require_safe
def media(request: HttpRequest, name: str) -> HttpResponseBase:
    """Serve an uploaded file. In front of a busy shop a proxy should do it."""
    kind = _MEDIA_TYPES.get(PurePosixPath(name).suffix)
    if kind is None:
        raise Http404
    try:
        file = default_storage.open(name)
    except (OSError, SuspiciousFileOperation, ValueError):
        raise Http404 from None
    response: HttpResponseBase
    if file.size > _STREAMED_FROM:
        response = FileResponse(file, content_type=kind)
    else:
        with file:
            response = HttpResponse(file.read(), content_type=kind)
    # A name is never used for anything else.
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
