"""The orders' pages."""

from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from orders.models import Order
from orders.reading import EVENT_NAMES, event_name
from orders.states import Status, comes_next
from shop.accounts.models import User
from shop.events.models import Event

# The way of an order that goes well.
_WAY = [status for status in Status if status is not Status.CANCELLED]


@require_safe
@login_required
def track(request: HttpRequest, id: UUID) -> HttpResponse:
    """Show an order's way to whoever may see it; live by static/orders/track.js."""
    assert isinstance(request.user, User)
    order = Order.objects.visible_to(request.user).filter(pk=id).first()
    if order is None:
        raise Http404
    status = Status(order.status)
    reached = _WAY.index(status) if status in _WAY else -1
    events = list(
        Event.objects.filter(subject=order.subject).select_related("actor").order_by("sequence")
    )
    return render(
        request,
        "orders/track.html",
        {
            "shop_name": settings.SHOP_NAME,
            "zone": settings.TIME_ZONE,
            "order": order,
            "items": order.items.all(),
            "status": status,
            "next": comes_next(status),
            "steps": [
                {
                    "status": step,
                    "state": "done" if n < reached else "now" if n == reached else "ahead",
                }
                for n, step in enumerate(_WAY)
            ],
            "events": [(event, event_name(event.type)) for event in events],
            "last_event": events[-1].pk,
            # What the script writes, in the page's language.
            "words": {
                **{f"order.{status.value}": str(status.label) for status in Status},
                **{name: event_name(name) for name in EVENT_NAMES},
            },
        },
    )
