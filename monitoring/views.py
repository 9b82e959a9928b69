"""The metrics page for Prometheus, and the page of live charts for staff."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitoring import alerts, multiprocess, series, system
from monitoring.health import may_read
from monitoring.metrics import CATALOGUE
from monitoring.ready import ready_by_route
from shop.errors import problem
from shop.ready import kept

# Names of the ranges that the charts can show, in minutes.
RANGES = {"15m": 15, "1h": 60, "6h": 360, "1d": 1440, "7d": 10080}
# What stands between a value and its threshold, in any language.
SIGNS = {"gt": ">", "gte": "≥", "lt": "<", "lte": "≤"}


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """All series of this host's processes, for scrapers in METRICS_NETWORKS."""
    if not may_read(request):
        return problem(403, _("Metrics are not for this address."))
    registry = multiprocess.registry()
    registry.register(system.Now())
    return HttpResponse(
        generate_latest(registry),
        content_type=CONTENT_TYPE_LATEST,
        headers={"Cache-Control": "no-store"},
    )


@require_safe
@login_required
@permission_required("monitoring.view_sample", raise_exception=True)
def page(request: HttpRequest) -> HttpResponse:
    """Live charts of every metric, the alerts and the slowest routes."""
    charts = [
        {"name": metric.name, "help": _(metric.help), "unit": _unit(metric.name)}
        for metric in sorted(CATALOGUE.values(), key=lambda metric: metric.name)
    ]
    states = {state.value: str(state.label) for state in alerts.State}
    return render(
        request,
        "monitoring/page.html",
        {
            "shop_name": settings.SHOP_NAME,
            "zone": settings.TIME_ZONE,
            "charts": charts,
            "ranges": RANGES,
            "alerts": [
                {**alert, "label": states[alert["state"]], "sign": SIGNS[alert["condition"]]}
                for alert in alerts.current()
            ],
            "words": states | SIGNS,
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@permission_required("monitoring.view_sample", raise_exception=True)
def ready_answers(request: HttpRequest) -> HttpResponse:
    """What is kept of answers that are the same for all, how often it served; POST empties it."""
    if request.method == "POST":
        if not request.user.has_perm("monitoring.empty_caches"):
            raise PermissionDenied
        kept().knowledge.tell_all()
        messages.success(request, _("All web processes have been told to forget what they keep."))
        return redirect("ready-answers")
    store = kept().store
    return render(
        request,
        "monitoring/ready.html",
        {
            "shop_name": settings.SHOP_NAME,
            "routes": ready_by_route(),
            "entries": len(store),
            "size": store.size,
            "most": store.most,
            "evicted": store.evicted,
            "biggest": [
                {"path": f"{path}?{query}" if query else path, "size": size}
                for (path, query), size in store.biggest(20)
            ],
        },
    )


def _unit(name: str) -> str:
    """Return what a metric's chart is in: counters are shown by the second."""
    metric = CATALOGUE[name]
    if metric.kind == "counter":
        return _("%s a second") % _(metric.unit)
    if metric.kind == "histogram":
        return _("milliseconds: average and 95th percentile")
    return _(metric.unit)


@require_safe
@login_required
@permission_required("monitoring.view_sample", raise_exception=True)
def data(request: HttpRequest) -> HttpResponse:
    """What the page's script asks for every few seconds. Three queries and one for the alerts."""
    minutes = RANGES.get(request.GET.get("range", "15m"))
    if minutes is None:
        return problem(400, _("One of %s.") % ", ".join(RANGES))
    end = timezone.now()
    start = end - timedelta(minutes=minutes)
    width = series.step_for(start, end, end)
    told: dict[str, dict[str, list[Any]]] = {
        name: {"times": [], "values": [], "p95": []} for name in CATALOGUE
    }
    for metric, point in series.all_points(start, end, step=width):
        if metric not in told:
            continue
        chart, reading = told[metric], point.reading
        chart["times"].append(int(point.time.timestamp()))
        kind = CATALOGUE[metric].kind
        if kind == "counter":
            chart["values"].append(reading.total / width)
            continue
        average = reading.total / reading.count if reading.count else None
        if kind == "histogram":
            average = average * 1000 if average is not None else None
            high = series.percentile(reading.buckets or {}, 0.95)
            chart["p95"].append(high * 1000 if high is not None else None)
        chart["values"].append(average)
    return JsonResponse(
        {
            "step": width,
            "start": int(start.timestamp()),
            "end": int(end.timestamp()),
            "metrics": told,
            "alerts": alerts.current(),
            "routes": series.slowest_routes(start, end),
            "sampled_at": series.last_sample(),
        }
    )
