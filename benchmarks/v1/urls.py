"""The v1 API's map."""

from rest_framework.routers import SimpleRouter

from benchmarks.v1.views import OrderViewSet, ProductViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("products", ProductViewSet, basename="v1-products")
router.register("orders", OrderViewSet, basename="v1-orders")

urlpatterns = router.urls
