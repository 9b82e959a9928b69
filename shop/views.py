"""The front page."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static


def front_page(request: HttpRequest) -> HttpResponse:
    """Say what runs here and where to go."""
    return render(request, "front_page.html", {"shop_name": settings.SHOP_NAME})


def icon(request: HttpRequest) -> HttpResponse:
    """Send browsers to the icon, by the name that it has been collected under."""
    return redirect(static("shop/icon.svg"))
