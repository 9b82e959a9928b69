"""The metrics page for Prometheus."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shop.errors import problem


def metrics(request: HttpRequest) -> HttpResponse:
    """All series of this process, for scrapers in METRICS_NETWORKS."""
    if not _may_read(request):
        return problem(403, "Metrics are not for this address.")
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    # A forwarded request whose proxy we were not told of has the proxy's
    # address, which proves nothing.
    if not settings.TRUSTED_PROXIES and request.headers.get("X-Forwarded-For"):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in network for network in settings.METRICS_NETWORKS)
