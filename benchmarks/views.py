"""The benchmark dashboard."""

from django.conf import settings
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from benchmarks.models import BenchmarkRun
from benchmarks.scenarios import SCENARIOS


@require_safe
@login_required
@permission_required("benchmarks.view_benchmarkrun", raise_exception=True)
def dashboard(request: HttpRequest) -> HttpResponse:
    """Start runs, watch them, see v1 against v2 and any two results."""
    return render(
        request,
        "benchmarks/dashboard.html",
        {
            "shop_name": settings.SHOP_NAME,
            "zone": settings.TIME_ZONE,
            "types": list(SCENARIOS),
            "runs": BenchmarkRun.objects.defer("result")[:20],
            "may_run": request.user.has_perm("benchmarks.add_benchmarkrun"),
            "words": {
                **{state.value: str(state.label) for state in BenchmarkRun.State},
                "faster": _("faster"),
                "slower": _("slower"),
                "equivalent": _("equivalent"),
                "inconclusive": _("inconclusive"),
                # What a run says of itself, which is in English.
                "preparing": _("preparing"),
                "starting": _("starting"),
                "checking facts": _("checking facts"),
                "warming up": _("warming up"),
                "The worker went away.": _("The worker went away."),
            },
        },
    )
