"""The models of the app `shop`, each defined in its room."""

from shop.accounts.models import AccessToken, User
from shop.events.models import Event
from shop.idempotency import IdempotencyKey
from shop.jobs.models import Job
from shop.webhooks.models import Attempt, Webhook

__all__ = ["AccessToken", "Attempt", "Event", "IdempotencyKey", "Job", "User", "Webhook"]
