"""The front page."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def front_page(request: HttpRequest) -> HttpResponse:
    """Say what runs here and where to go."""
    return render(request, "front_page.html", {"shop_name": settings.SHOP_NAME})
