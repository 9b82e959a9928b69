"""What the host, the queue and the events say of themselves when they are asked."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil
from django.conf import settings
from django.db import Error
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from monitoring.metrics import CATALOGUE
from shop.events import delivery
from shop.events.models import SinkOffset
from shop.jobs.models import Job

# Seconds: a shorter look says more of itself than of the host.
_LEAST = 1.0


class CpuUse:
    """How busy the host's cores are, from one look to the next in this process.

    psutil.cpu_percent remembers its last look for each thread, so that the
    first one of every thread of a pool says 0.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = time.monotonic()
        self._busy, self._total = self._read()
        self._percent: float | None = None

    @staticmethod
    def _read() -> tuple[float, float]:
        times = psutil.cpu_times()
        # A guest's time is within the user's.
        total = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)
        return total - times.idle - getattr(times, "iowait", 0), total

    def percent(self) -> float:
        """Return the share of all cores' time that was used, 0 to 100."""
        with self._lock:
            now = time.monotonic()
            if self._percent is None or now - self._at >= _LEAST:
                busy, total = self._read()
                passed = total - self._total
                share = (busy - self._busy) / passed if passed > 0 else 0.0
                self._percent = round(min(1.0, max(0.0, share)) * 100, 1)
                self._at, self._busy, self._total = now, busy, total
            return self._percent


_cpu = CpuUse()


def read_system() -> dict[str, float]:
    """Return the system metrics by their dotted names.

    CPU use is that since the last look in this process.
    """
    network = psutil.net_io_counters()
    return {
        "system.cpu.usage": _cpu.percent(),
        "system.memory.usage": psutil.virtual_memory().percent,
        "system.disk.usage": psutil.disk_usage(str(settings.DATA_DIR)).percent,
        "system.network.bytes_sent": float(network.bytes_sent if network else 0),
        "system.network.bytes_recv": float(network.bytes_recv if network else 0),
    }


def read_jobs() -> dict[str, float]:
    """Return the queue's metrics by their dotted names. Three short queries."""
    now = timezone.now()
    due = Job.objects.due(now)
    oldest = due.order_by("due_at").values_list("due_at", flat=True).first()
    return {
        "jobs.queued": due.count(),
        "jobs.failed": Job.objects.filter(state=Job.State.FAILED).count(),
        "jobs.lag": max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
    }


def read_events() -> dict[str, float]:
    """Return the metrics of the events' way by their dotted names. Four short queries.

    `event.lag` is the shop's own health. `webhook.lag` is about receivers, which may be
    down for a day while nothing is wrong here.
    """
    now = timezone.now()
    return {
        "event.lag": delivery.lag(now),
        "webhook.lag": delivery.passing_lag(now),
        "event.dead": SinkOffset.objects.dead().count(),
    }


def read_all() -> dict[str, float]:
    """Return all of them."""
    return read_system() | read_jobs() | read_events()


class Now:
    """A collector of what is read at the moment of asking."""

    def collect(self) -> Iterable[Metric]:
        """Read it; without a database, what the host says."""
        readings = read_system()
        with suppress(Error):
            readings |= read_jobs() | read_events()
        for name, value in readings.items():
            metric = CATALOGUE[name]
            if metric.kind == "counter":
                series = metric.series.removesuffix("_total")
                yield CounterMetricFamily(series, metric.help, value=value)
            else:
                yield GaugeMetricFamily(metric.series, metric.help, value=value)
