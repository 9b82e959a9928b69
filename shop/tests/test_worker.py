"""A real Celery worker takes a job from the broker that is set."""

import os
import subprocess
import sys
import time

import pytest
from django.conf import settings

from shop.celery import app, wake_worker
from shop.jobs import queue
from shop.jobs.models import Job
from shop.tests.running import database_url


@pytest.fixture
def worker(tmp_path):
    """Run a worker on the test's own database, with nothing before the test's own job."""
    # What other tests have announced would be worked off first, a few a second.
    app.control.purge()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "--quiet", "-A", "shop", "worker"),
            *("--pool", "threads", "--concurrency", "1", "--without-mingle", "--without-gossip"),
        ],
        env={**os.environ, "DATABASE_URL": database_url(), "DATA_DIR": str(settings.DATA_DIR)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.terminate()
    process.wait(30)


def wait_for(state, job_id):
    for _ in range(600):
        job = Job.objects.get(pk=job_id)
        if job.state == state:
            return job
        time.sleep(0.1)
    raise AssertionError(f"still {job.state}: {job.error}")


@pytest.mark.django_db(transaction=True)
def test_a_worker_runs_what_is_enqueued(worker, monkeypatch):
    monkeypatch.setattr(queue, "_wake", wake_worker)
    job = queue.enqueue("shop.prune")
    assert job is not None
    done = wait_for("finished", job.pk)
    assert done.attempts == 1
    assert worker.poll() is None


@pytest.mark.django_db(transaction=True)
def test_a_broker_out_of_reach_costs_nothing_but_time(monkeypatch):
    """The message can't be sent; the row stays and the sweep runs it."""

    def unreachable(*args, **kwargs):
        raise OSError("connection refused")

    monkeypatch.setattr(app.amqp, "send_task_message", unreachable)
    monkeypatch.setattr(queue, "_wake", wake_worker)
    job = queue.enqueue("shop.prune")
    assert job is not None
    assert Job.objects.get().state == "queued"
    assert queue.sweep() == 1
    assert Job.objects.get().state == "finished"
