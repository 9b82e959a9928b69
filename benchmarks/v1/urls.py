"""The v1 API's map."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from benchmarks.v1.views import OrderViewSet, ProductViewSet, SummaryView

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("products", ProductViewSet, basename="v1-products")
router.register("orders", OrderViewSet, basename="v1-orders")

urlpatterns = [
    path("orders/analytics/summary", SummaryView.as_view(), name="v1-summary"),
    *router.urls,
]
