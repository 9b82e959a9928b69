"""Job rows: run once, retried, found again."""

from datetime import timedelta

import pytest
from django.utils import timezone

from shop.jobs import queue
from shop.jobs.models import Job

pytestmark = pytest.mark.django_db


def register(monkeypatch, function, lane="default", attempts=5):
    monkeypatch.setitem(queue._registry, "test.work", queue._Registered(function, lane, attempts))


@pytest.fixture
def ran(monkeypatch):
    """A job that notes what it was called with, and fails while told to."""
    calls = []

    def work(**arguments):
        calls.append(arguments)
        if arguments.get("fail"):
            raise RuntimeError("out of paper")
        return "done"

    register(monkeypatch, work)
    return calls


@pytest.fixture
def hints(monkeypatch):
    told = []
    monkeypatch.setattr(queue, "_wake", lambda job_id, queue: told.append(job_id))
    return told


def test_a_job_is_announced_after_the_commit_and_runs_once(
    ran, hints, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        job = queue.enqueue("test.work", order=5)
        assert hints == []
    assert hints == [job.pk]
    assert queue.run(job.pk) is True
    assert queue.run(job.pk) is False
    assert ran == [{"order": 5}]
    job.refresh_from_db()
    assert (job.state, job.result, job.attempts) == ("finished", "done", 1)
    assert job.finished_at is not None


def test_with_the_broker_gone_the_sweep_finds_it(
    ran, monkeypatch, django_capture_on_commit_callbacks
):
    def broken(job_id, queue):
        raise OSError("no broker")

    monkeypatch.setattr(queue, "_wake", broken)
    with django_capture_on_commit_callbacks(execute=True):
        queue.enqueue("test.work")
    assert queue.sweep() == 1
    assert len(ran) == 1


def test_a_failure_is_kept_and_tried_again_later(ran, hints):
    job = queue.enqueue("test.work", fail=True)
    queue.run(job.pk)
    job.refresh_from_db()
    assert job.state == "queued"
    assert "out of paper" in job.error
    assert job.due_at > timezone.now()
    assert queue.run(job.pk) is False  # not yet due
    for _ in range(queue.MAX_ATTEMPTS - 1):
        Job.objects.update(due_at=timezone.now())
        queue.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("failed", queue.MAX_ATTEMPTS)


def test_a_failed_job_can_be_run_again(ran, hints):
    job = queue.enqueue("test.work", fail=True)
    Job.objects.update(attempts=queue.MAX_ATTEMPTS - 1)
    queue.run(job.pk)
    assert queue.run_again(job.pk) is True
    assert queue.run_again(job.pk) is False  # it waits already
    Job.objects.update(arguments={})
    queue.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == ("finished", "")


def test_one_job_a_key_waits_at_a_time(ran, hints):
    first = queue.enqueue("test.work", unique_key="nightly")
    assert queue.enqueue("test.work", unique_key="nightly") is None
    queue.run(first.pk)
    assert queue.enqueue("test.work", unique_key="nightly") is not None


def test_a_job_whose_worker_died_is_run_by_another(ran, hints):
    job = queue.enqueue("test.work")
    long_ago = timezone.now() - timedelta(seconds=queue.TIME_LIMITS["default"] + queue.GRACE + 1)
    Job.objects.update(state="running", started_at=long_ago, attempts=1)
    queue.sweep()
    job.refresh_from_db()
    assert (job.state, job.attempts, len(ran)) == ("finished", 2, 1)


def test_a_worker_given_up_for_dead_overwrites_nothing(ran, hints, monkeypatch):
    job = queue.enqueue("test.work")

    def slow(**_):
        # Meanwhile the sweep gave the job to another, who finished it.
        Job.objects.filter(pk=job.pk).update(state="finished", attempts=2, result="theirs")
        return "mine"

    register(monkeypatch, slow)
    queue.run(job.pk)
    job.refresh_from_db()
    assert job.result == "theirs"


def test_long_work_has_a_sweep_of_its_own(monkeypatch, hints):
    register(monkeypatch, lambda: "done", lane="long")
    first, second = queue.enqueue("test.work"), queue.enqueue("test.work")
    assert queue.sweep() == 0
    # One a turn, so that the message that rang for it is soon confirmed.
    assert queue.sweep("long") == 1
    assert queue.sweep("long") == 1
    assert set(Job.objects.values_list("pk", "state")) == {
        (first.pk, "finished"),
        (second.pk, "finished"),
    }


def test_a_process_does_one_long_job_at_a_time(monkeypatch, hints):
    inside = []

    def work():
        inside.append(queue.run(second.pk))
        return "done"

    register(monkeypatch, work, lane="long")
    first, second = queue.enqueue("test.work"), queue.enqueue("test.work")
    assert queue.run(first.pk) is True
    assert inside == [False]
    second.refresh_from_db()
    assert (second.state, second.attempts) == ("queued", 0)
    assert queue._long.acquire(blocking=False)
    queue._long.release()


def test_a_job_of_one_try_is_not_tried_again(monkeypatch, hints):
    def work():
        raise RuntimeError("out of paper")

    register(monkeypatch, work, attempts=1)
    job = queue.enqueue("test.work")
    queue.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("failed", 1)


def test_a_job_of_one_try_whose_worker_died_has_failed(monkeypatch, hints):
    register(monkeypatch, lambda: "done", attempts=1)
    job = queue.enqueue("test.work")
    long_ago = timezone.now() - timedelta(seconds=queue.TIME_LIMITS["default"] + queue.GRACE + 1)
    Job.objects.update(state="running", started_at=long_ago, attempts=1)
    queue.sweep()
    job.refresh_from_db()
    assert (job.state, job.error) == ("failed", "The worker went away.")


def test_an_unknown_job_fails_at_once(hints):
    with pytest.raises(LookupError):
        queue.enqueue("test.nothing")
    job = Job.objects.create(task="test.gone")
    queue.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("failed", 1)


def test_the_correlation_id_travels_with_the_job(ran, hints, monkeypatch):
    from shop.context import correlation_id

    seen = []
    register(monkeypatch, lambda: seen.append(correlation_id.get()) or None)
    token = correlation_id.set("request-12345")
    job = queue.enqueue("test.work")
    correlation_id.reset(token)
    queue.run(job.pk)
    assert seen == ["request-12345"]


def test_old_rows_are_pruned(settings, alice, hints):
    from shop.accounts.models import AccessToken
    from shop.idempotency import IdempotencyKey

    past = timezone.now() - timedelta(days=365)
    Job.objects.create(task="old", state="finished", finished_at=past)
    Job.objects.create(task="kept", state="failed", finished_at=past)
    IdempotencyKey.objects.create(caller="1", key="old", fingerprint="")
    IdempotencyKey.objects.update(created_at=past)
    IdempotencyKey.objects.create(caller="1", key="new", fingerprint="")
    row, _ = AccessToken.issue(alice)
    AccessToken.objects.filter(pk=row.pk).update(expires_at=past)

    job = queue.enqueue("shop.prune")
    queue.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result) == ("finished", "1 jobs, 0 deliveries, 1 keys, 1 tokens")
    assert set(Job.objects.values_list("task", flat=True)) == {"kept", "shop.prune"}
    assert IdempotencyKey.objects.get().key == "new"


def test_every_scheduled_job_exists():
    from shop.celery import PERIODIC

    assert set(PERIODIC) <= set(queue._registry)
