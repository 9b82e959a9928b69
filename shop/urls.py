"""The whole URL map."""

from django.contrib import admin
from django.urls import include, path, re_path

from shop import errors
from shop.api import nothing_here
from shop.views import front_page

urlpatterns = [
    path("", front_page, name="front-page"),
    path("", include("monitoring.urls")),
    path("accounts/", include("shop.accounts.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("benchmarks.v1.urls")),
    path("api/v2/", include("shop.api")),
    re_path(r"^api(?:/.*)?$", nothing_here),
]

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
