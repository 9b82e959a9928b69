"""The v2 API's map: what this process serves of it, by SHOP_SERVICES."""

import functools
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.translation import get_language
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter

from shop.accounts.api import TokenViewSet
from shop.errors import not_found

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
pages: list[URLPattern | URLResolver] = []
# The busiest first, as in shop/urls.py. What is not served is not imported.
if "products" in settings.SERVICES:
    from products.api import CategoryViewSet, ProductViewSet

    router.register("products", ProductViewSet, basename="products")
if "orders" in settings.SERVICES:
    from orders.api import OrderViewSet

    router.register("orders", OrderViewSet, basename="orders")
if "products" in settings.SERVICES:
    router.register("categories", CategoryViewSet, basename="categories")
if "monitoring" in settings.SERVICES:
    from monitoring.api import AlertViewSet, RuleViewSet, SilenceViewSet

    router.register("alerts/rules", RuleViewSet, basename="alert-rules")
    router.register("alerts/silences", SilenceViewSet, basename="alert-silences")
    router.register("alerts", AlertViewSet, basename="alerts")
if "benchmarks" in settings.SERVICES:
    from benchmarks.api import BenchmarkViewSet
    from benchmarks.views import dashboard

    router.register("benchmarks", BenchmarkViewSet, basename="benchmarks")
    # A page, at the address that the specification gives it.
    pages.append(path("benchmarks/dashboard", dashboard, name="benchmark-dashboard"))
router.register("auth/tokens", TokenViewSet, basename="tokens")


# Without this a POST would be told of a CSRF token that no address here asks for.
@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """Answer any other path under /api, also where DEBUG would show its own page."""
    # Not a route of ours: the metrics count it as unmatched.
    request.resolver_match = None
    return not_found(request, Http404())


@functools.lru_cache
def _schema(language: str | None) -> bytes:
    # By language, as the descriptions are.
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    written: bytes = OpenApiJsonRenderer().render(schema, renderer_context={})
    return written


class SchemaView(SpectacularJSONAPIView):
    """The schema, written once: that takes 50 ms, and anybody may ask as often as they like."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return it. It is the same for everybody and has no parameters."""
        return HttpResponse(
            _schema(get_language()),
            content_type=OpenApiJsonRenderer.media_type,
            headers={"Content-Disposition": 'inline; filename="openapi.json"'},
        )


urlpatterns: list[URLPattern | URLResolver] = [
    *pages,
    *router.urls,
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
]
