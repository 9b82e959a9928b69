"""The whole URL map."""

from django.contrib import admin
from django.urls import include, path, re_path

from shop import errors
from shop.api import nothing_here
from shop.views import front_page, icon, media

# The busiest first: a request is matched against one pattern after the other.
urlpatterns = [
    path("api/v2/", include("shop.api")),
    path("api/v1/", include("benchmarks.v1.urls")),
    path("", front_page, name="front-page"),
    path("", include("monitoring.urls")),
    path("orders/", include("orders.urls")),
    path("accounts/", include("shop.accounts.urls")),
    path("admin/", admin.site.urls),
    path("media/<path:name>", media, name="media"),
    # Browsers ask for it on pages that name no icon, such as the admin's.
    path("favicon.ico", icon),
    re_path(r"^api(?:/.*)?$", nothing_here),
]

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
