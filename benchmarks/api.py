"""Benchmarks under /api/v2."""

from typing import Any, ClassVar

from django.http import Http404, HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request

from benchmarks import actions
from benchmarks.models import BenchmarkRun
from benchmarks.runner import Parameters
from benchmarks.serializers import (
    CompareOutput,
    CompareQuery,
    DownloadQuery,
    ResultsQuery,
    RunInput,
    RunList,
    RunOutput,
)
from shop.errors import refuses
from shop.inputs import read_query, read_query_and_body
from shop.rest import json_response, local
from shop.schema import ATTACHMENT, location_of
from shop.viewsets import ShopViewSet, caller


def run_json(row: BenchmarkRun, *, latencies: bool = False) -> dict[str, Any]:
    """Return a run as the API shows it; every latency only where it is asked for."""
    result = row.result
    if result and not latencies:
        result = {
            **result,
            "steps": [
                {
                    name: {k: v for k, v in value.items() if k != "latencies_us"}
                    if name in ("v1", "v2")
                    else value
                    for name, value in step.items()
                }
                for step in result["steps"]
            ],
        }
    return {
        "id": str(row.pk),
        "name": row.name,
        "benchmark_type": row.benchmark_type,
        "parameters": row.parameters,
        "state": row.state,
        "progress": row.progress,
        "phase": row.phase,
        "error": row.error,
        "by": row.actor.username if row.actor else None,
        "created_at": local(row.created_at),
        "finished_at": local(row.finished_at) if row.finished_at else None,
        "result": result,
    }


class BenchmarkViewSet(ShopViewSet):
    """Runs of v1 against v2, for staff."""

    rights: ClassVar[dict[str, str | bool | None]] = {
        "run": "benchmarks.add_benchmarkrun",
        "results": "benchmarks.view_benchmarkrun",
        "result": "benchmarks.view_benchmarkrun",
        "cancel": "benchmarks.change_benchmarkrun",
        "compare": "benchmarks.view_benchmarkrun",
    }
    with_query = frozenset({"run", "results", "result", "compare"})
    id_schema: ClassVar[dict[str, Any]] = {"type": "string", "minLength": 1}

    @extend_schema(
        request=RunInput,
        parameters=[RunInput, location_of("/api/v2/benchmarks/results", 202)],
        responses={202: RunOutput},
        description="Query parameters or a JSON body, not the same name in both.",
    )
    @action(detail=False, methods=["post"])
    @refuses(actions.BenchmarkRunning)
    def run(self, request: Request) -> HttpResponse:
        """Start a run; a worker does it. One at a time."""
        data = read_query_and_body(request, RunInput)
        row = actions.start_run(Parameters(**data), actor=caller(request))
        location = f"/api/v2/benchmarks/results/{row.pk}"
        return json_response(run_json(row), 202, {"Location": location})

    @extend_schema(
        operation_id="benchmarks_results_list", parameters=[ResultsQuery], responses=RunList
    )
    @action(detail=False, methods=["get"])
    def results(self, request: Request) -> HttpResponse:
        """The newest runs."""
        query = read_query(request, ResultsQuery)
        rows = BenchmarkRun.objects.select_related("actor")
        if kind := query.get("benchmark_type"):
            rows = rows.filter(benchmark_type=kind)
        return json_response({"results": [run_json(row) for row in rows[: query["limit"]]]})

    @extend_schema(parameters=[DownloadQuery, ATTACHMENT], responses=RunOutput)
    @action(detail=False, methods=["get"], url_path="results/<str:id>")
    def result(self, request: Request, id: str) -> HttpResponse:
        """One run with every latency, by id or name; `download=true` makes it a file."""
        query = read_query(request, DownloadQuery)
        row = _get(id)
        headers = {}
        if query["download"] == "true":
            headers["Content-Disposition"] = f'attachment; filename="{row.name}.json"'
        return json_response(run_json(row, latencies=True), 200, headers)

    @extend_schema(request=None, responses={202: RunOutput})
    @action(detail=False, methods=["post"], url_path="results/<str:id>/cancel")
    def cancel(self, request: Request, id: str) -> HttpResponse:
        """Have a run end before its next block. One that has ended stays as it is."""
        row = _get(id)
        actions.cancel_run(row)
        row.refresh_from_db()
        return json_response(run_json(row), 202)

    @extend_schema(parameters=[CompareQuery], responses=CompareOutput)
    @action(detail=False, methods=["get"])
    @refuses(actions.NoResult, (404, "not_found"))
    def compare(self, request: Request) -> HttpResponse:
        """The current run against the baseline, step by step."""
        query = read_query(request, CompareQuery)
        return json_response(actions.compare_runs(_get(query["baseline"]), _get(query["current"])))


def _get(name: str) -> BenchmarkRun:
    row = BenchmarkRun.objects.select_related("actor").called(name)
    if row is None:
        raise Http404
    return row
