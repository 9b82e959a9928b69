"""Orders in the admin, a file a subject; Django finds the pages by importing this."""

from orders.admin import orders, payments

__all__ = ["orders", "payments"]
