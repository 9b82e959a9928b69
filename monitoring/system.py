"""What the host and the queue say of themselves when they are asked."""

from collections.abc import Iterable
from contextlib import suppress

import psutil
from django.conf import settings
from django.db import Error
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from monitoring.metrics import CATALOGUE
from shop.jobs.models import Job


def read_system() -> dict[str, float]:
    """Return the system metrics by their dotted names.

    CPU use is that since the last call in this process.
    """
    network = psutil.net_io_counters()
    return {
        "system.cpu.usage": psutil.cpu_percent(interval=None),
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


class Now:
    """A collector of what is read at the moment of asking."""

    def collect(self) -> Iterable[Metric]:
        """Read it; without a database, what the host says."""
        readings = read_system()
        with suppress(Error):
            readings |= read_jobs()
        for name, value in readings.items():
            metric = CATALOGUE[name]
            if metric.kind == "counter":
                series = metric.series.removesuffix("_total")
                yield CounterMetricFamily(series, metric.help, value=value)
            else:
                yield GaugeMetricFamily(metric.series, metric.help, value=value)
