"""Counting orders by how they ended."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpResponse
from rest_framework.exceptions import APIException

from monitoring import metrics
from shop.errors import ShopError

View = TypeVar("View", bound=Callable[..., HttpResponse])


def counted(view: View) -> View:
    """Count each try to place an order: success, validation_error, business_error or error.

    A replayed answer is not a new order and is not counted.
    """

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(*args, **kwargs)
        except (ShopError, APIException) as error:
            status = error.status if isinstance(error, ShopError) else error.status_code
            business = status in (409, 422)
            metrics.ORDER_CREATED.labels("business_error" if business else "validation_error").inc()
            raise
        except Exception:
            metrics.ORDER_CREATED.labels("error").inc()
            raise
        if not response.has_header("Idempotency-Replayed"):
            metrics.ORDER_CREATED.labels("success").inc()
        return response

    return wrapper  # type: ignore[return-value]
