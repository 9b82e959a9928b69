"""The v2 API's map: what this process serves of it, by SHOP_SERVICES."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from shop.accounts.api import TokenViewSet
from shop.errors import not_found
from shop.views import SchemaView
from shop.webhooks.api import WebhookViewSet

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
router.register("webhooks", WebhookViewSet, basename="webhooks")
router.register("auth/tokens", TokenViewSet, basename="tokens")


# Without this a POST would be told of a CSRF token that no address here asks for.
@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """Answer any other path under /api, also where DEBUG would show its own page."""
    # Not a route of ours: the metrics count it as unmatched.
    request.resolver_match = None
    return not_found(request, Http404())


urlpatterns: list[URLPattern | URLResolver] = [
    *pages,
    *router.urls,
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
]
