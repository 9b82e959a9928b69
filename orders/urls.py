"""The orders' pages and sockets."""

from django.urls import path

from orders.consumers import OrderUpdates
from orders.views import track

urlpatterns = [
    path("<uuid:id>/track", track, name="order-track"),
]
websocket_urlpatterns = [
    path("api/v2/orders/<uuid:id>/updates", OrderUpdates.as_asgi()),
]
