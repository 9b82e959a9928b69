"""Starting, running, cancelling and comparing benchmark runs."""

import secrets
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from benchmarks.models import BenchmarkRun
from benchmarks.runner import Cancelled, Parameters, run
from benchmarks.stats import compare
from shop.accounts.models import User
from shop.errors import ShopError
from shop.jobs.queue import enqueue
from shop.redact import redact

# A run that has said nothing for so long has lost its worker. Filling a
# database is the longest that it is silent.
_SILENCE = timedelta(minutes=10)
State = BenchmarkRun.State


class BenchmarkRunning(ShopError):
    """There is a run already; `run` names it."""

    code = "benchmark_running"
    title = gettext_noop("Benchmark running")


class NoResult(ShopError):
    """The run has no result, or not of the same steps."""

    code = "no_result"
    title = gettext_noop("No result")


def _name(parameters: Parameters) -> str:
    stamp = timezone.localtime().strftime("%Y%m%d-%H%M%S")
    return f"{parameters.benchmark_type}-{stamp}-{secrets.token_hex(2)}"


def _claim(parameters: Parameters, actor: User | None, state: str) -> BenchmarkRun:
    """Write a run's row; the database lets one be active.

    Raises:
        BenchmarkRunning.
    """
    BenchmarkRun.objects.active().filter(seen_at__lt=timezone.now() - _SILENCE).update(
        state=State.FAILED, error="The worker went away.", finished_at=timezone.now()
    )
    try:
        with transaction.atomic():
            return BenchmarkRun.objects.create(
                name=_name(parameters),
                benchmark_type=parameters.benchmark_type,
                parameters=asdict(parameters),
                actor=actor,
                state=state,
            )
    except IntegrityError:
        active = BenchmarkRun.objects.active().first()
        raise BenchmarkRunning(
            _("A benchmark is running already."), run=active.name if active else None
        ) from None


def start_run(parameters: Parameters, *, actor: User) -> BenchmarkRun:
    """Have a worker run a benchmark.

    Raises:
        BenchmarkRunning: one at a time.
    """
    with transaction.atomic():
        row = _claim(parameters, actor, State.QUEUED)
        enqueue("benchmarks.run", run_id=str(row.pk))
    return row


def run_here(parameters: Parameters, *, say: Any = None) -> BenchmarkRun:
    """Run a benchmark in this process and keep its result.

    Raises:
        BenchmarkRunning; and whatever the run fails with, which is kept too.
    """
    row = _claim(parameters, None, State.RUNNING)
    execute(row.pk, say=say)
    row.refresh_from_db()
    return row


def execute(run_id: UUID, *, say: Any = None) -> str:
    """Run a benchmark that was claimed; returns the state that it ended in."""
    row = BenchmarkRun.objects.get(pk=run_id)
    if row.state not in BenchmarkRun.ACTIVE:
        return row.state
    mine = BenchmarkRun.objects.filter(pk=run_id, state__in=BenchmarkRun.ACTIVE)

    def progress(phase: str, share: float) -> None:
        mine.update(
            state=State.RUNNING, phase=phase, progress=round(share, 3), seen_at=timezone.now()
        )
        if say:
            say(phase, share)
        if mine.filter(cancel_requested=True).exists():
            raise Cancelled

    ended: dict[str, Any] = {}
    try:
        ended = {"state": State.FINISHED, "result": run(Parameters(**row.parameters), progress)}
    except Cancelled:
        ended = {"state": State.CANCELLED}
    except BaseException as error:
        ended = {"state": State.FAILED, "error": redact(f"{type(error).__name__}: {error}")[:8000]}
        raise
    finally:
        mine.update(**ended, phase="", progress=1, finished_at=timezone.now())
    return str(ended["state"])


def cancel_run(row: BenchmarkRun) -> None:
    """Have a run end: at once while it waits, else before its next block."""
    now = timezone.now()
    waiting = BenchmarkRun.objects.filter(pk=row.pk, state=State.QUEUED)
    if not waiting.update(state=State.CANCELLED, finished_at=now):
        BenchmarkRun.objects.filter(pk=row.pk, state=State.RUNNING).update(cancel_requested=True)


def compare_runs(baseline: BenchmarkRun, current: BenchmarkRun) -> dict[str, Any]:
    """Return v2 of one run against v2 of another, step by step, and how they differ else.

    Raises:
        NoResult: one has none, or they have no step in common.
    """
    if not baseline.result or not current.result:
        raise NoResult(_("Both runs need a result."))
    before = {step["name"]: step for step in baseline.result["steps"]}
    steps = []
    for step in current.result["steps"]:
        old = before.get(step["name"])
        if old is None:
            continue
        for which in ("v1", "v2"):
            first, second = old[which], step[which]
            if first["latencies_us"] and second["latencies_us"]:
                told = compare(
                    first["rates"],
                    second["rates"],
                    first["latencies_us"],
                    second["latencies_us"],
                )
                steps.append({"name": step["name"], "version": which, **asdict(told)})
    if not steps:
        raise NoResult(_("The runs have no step in common."))
    names = sorted({*baseline.environment, *current.environment})
    return {
        "baseline": baseline.name,
        "current": current.name,
        "steps": steps,
        "environment_differs": [
            {
                "name": name,
                "baseline": baseline.environment.get(name),
                "current": current.environment.get(name),
            }
            for name in names
            if baseline.environment.get(name) != current.environment.get(name)
        ],
    }
