"""What has had its time is removed."""

from datetime import timedelta

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from shop.accounts.models import AccessToken
from shop.events import delivery
from shop.idempotency import IdempotencyKey
from shop.jobs.models import Job
from shop.jobs.queue import job
from shop.webhooks.models import Attempt


@job("shop.prune")
def prune() -> str:
    """Delete old job rows, keys, delivery notes, attempts, expired tokens and sessions."""
    now = timezone.now()
    keep = timedelta(days=settings.JOB_HISTORY_DAYS)
    old = now - keep
    jobs, _ = Job.objects.long_ago(now, keep).delete()
    offsets = delivery.prune(old)
    attempts, _ = Attempt.objects.filter(time__lt=old).delete()
    keys, _ = IdempotencyKey.objects.filter(
        created_at__lt=now - timedelta(hours=settings.IDEMPOTENCY_HOURS)
    ).delete()
    tokens, _ = AccessToken.objects.expired().delete()
    call_command("clearsessions")
    return f"{jobs} jobs, {offsets} deliveries, {attempts} attempts, {keys} keys, {tokens} tokens"
