"""The whole URL map: what this process serves of it, by SHOP_SERVICES."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

from shop import errors
from shop.api import nothing_here
from shop.views import front_page, icon, media


def _of(service: str, *patterns: URLPattern | URLResolver) -> list[URLPattern | URLResolver]:
    return list(patterns) if service in settings.SERVICES else []


# The busiest first: a request is matched against one pattern after the other.
urlpatterns = [
    path("api/v2/", include("shop.api")),
    *_of("benchmarks", path("api/v1/", include("benchmarks.v1.urls"))),
    path("", front_page, name="front-page"),
    path("", include("monitoring.urls")),
    *_of("monitoring", path("monitoring/", include("monitoring.pages"))),
    *_of("orders", path("orders/", include("orders.urls"))),
    path("accounts/", include("shop.accounts.urls")),
    path("language", require_POST(set_language), name="set_language"),
    path("admin/", admin.site.urls),
    *_of("products", path("media/<path:name>", media, name="media")),
    # Browsers ask for it on pages that name no icon, such as the admin's.
    path("favicon.ico", icon),
    re_path(r"^api(?:/.*)?$", nothing_here),
]

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
