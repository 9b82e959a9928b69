"""One light view, to measure what lies around a view."""

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import path

from monitoring.health import ready

_BODY = orjson.dumps({"text": "x" * 1012})


def kilobyte(request: HttpRequest) -> HttpResponse:
    """Answer 1,024 bytes of JSON."""
    return HttpResponse(_BODY, content_type="application/json")


urlpatterns = [
    path("plain", kilobyte),
    path("health/ready", ready),
]
