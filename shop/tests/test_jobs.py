"""Job rows: run once, retried, found again."""

import threading
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from products.models import Product
from shop.accounts.models import User
from shop.jobs import queue
from shop.jobs.models import Job

pytestmark = pytest.mark.django_db


def register(monkeypatch, function, lane="default", attempts=5, **options):
    monkeypatch.setitem(
        queue._registry, "test.work", queue._Registered(function, lane, attempts, **options)
    )


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
    monkeypatch.setattr(queue, "_wake", told.append)
    return told


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda row: queue.take_back(), "cancelled"),
        (queue.give_back, "cancelled"),
        (queue.overdue, "failed"),
    ],
    ids=["worker died", "worker stopped", "too long"],
)
def test_a_run_that_was_cut_short_is_left_to_the_next_of_its_key(ran, hints, end, state):
    first = queue.enqueue("test.work", unique_key="hourly")
    row = queue.claim(first.pk)
    second = queue.enqueue("test.work", unique_key="hourly")
    past = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=first.pk).update(lease_until=past)
    row.lease_until = past
    end(row)
    first.refresh_from_db()
    assert first.state == state
    assert first.error
    assert queue.sweep() == 1
    second.refresh_from_db()
    assert (second.state, len(ran)) == ("finished", 1)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_job_that_waits_is_not_begun_before_the_change_it_is_to_see(monkeypatch, hints, alice):
    """Else it would do its work on the old state, and nobody would do it on the new."""
    seen = []
    register(monkeypatch, lambda: seen.append(User.objects.get(pk=alice.pk).first_name) or "")
    queue.enqueue("test.work", unique_key="names")
    worker = threading.Thread(target=at_work)
    with transaction.atomic():
        User.objects.filter(pk=alice.pk).update(first_name="new")
        assert queue.enqueue("test.work", unique_key="names") is None
        worker.start()
        worker.join(1)
        # It did not wait for this one, as it would not for others.
        assert not worker.is_alive()
        assert seen == []
    assert queue.sweep() == 1
    assert seen == ["new"]


def at_work():
    try:
        queue.sweep()
    finally:
        connection.close()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_what_one_transaction_holds_holds_up_no_other_job(ran, hints):
    rows = [queue.enqueue("test.work", order=number) for number in range(10)]
    held = [row.pk for row in rows[:6]]
    with transaction.atomic():
        assert len(Job.objects.select_for_update().filter(pk__in=held)) == 6
        worker = threading.Thread(target=at_work)
        worker.start()
        worker.join(30)
        assert [call["order"] for call in ran] == [6, 7, 8, 9]
    assert queue.sweep() == 6


def test_a_key_that_is_begun_in_this_very_moment_is_wanted_again(ran, hints, monkeypatch):
    """Between the refusal of the row and the look who refused it."""
    first = queue.enqueue("test.work", unique_key="names")
    waits = queue._waits

    def late(key):
        queue.claim(first.pk)
        return waits(key)

    monkeypatch.setattr(queue, "_waits", late)
    second = queue.enqueue("test.work", unique_key="names")
    assert second is not None
    assert second.pk != first.pk


def test_a_job_is_announced_after_the_commit_and_runs_once(
    ran, hints, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        job = queue.enqueue("test.work", order=5)
        assert hints == []
    assert hints == ["default"]
    assert queue.run(job.pk) is True
    assert queue.run(job.pk) is False
    assert ran == [{"order": 5}]
    job.refresh_from_db()
    assert (job.state, job.result, job.attempts) == ("finished", "done", 1)
    assert job.finished_at is not None


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
    a_while_ago = timezone.now() - timedelta(seconds=1)
    Job.objects.update(state="running", claim=uuid4(), lease_until=a_while_ago, attempts=1)
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


def test_long_work_has_a_queue_of_its_own(monkeypatch, hints):
    register(monkeypatch, lambda: "done", lane="long")
    first, second = queue.enqueue("test.work"), queue.enqueue("test.work")
    assert queue.sweep() == 0
    assert queue.sweep("long") == 2
    assert set(Job.objects.values_list("pk", "state")) == {
        (first.pk, "finished"),
        (second.pk, "finished"),
    }


def test_a_job_that_is_alive_is_left_alone(ran, hints):
    job = queue.enqueue("test.work")
    row = queue.claim(job.pk)
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    queue.renew([row.claim])
    assert queue.take_back() == 0
    assert queue.sweep() == 0
    queue.do(row)
    assert len(ran) == 1


def test_a_job_of_code_without_leases_is_believed_for_half_an_hour(ran, hints):
    queue.enqueue("test.work")
    Job.objects.update(state="running", started_at=timezone.now() - timedelta(minutes=29))
    assert queue.take_back() == 0
    Job.objects.update(started_at=timezone.now() - timedelta(minutes=31))
    assert queue.take_back() == 1


def test_a_job_says_how_far_it_has_got(monkeypatch, hints):
    seen = []

    def work():
        for step in range(3):
            queue.progress(step / 2, f"page {step}")
            # Not again within half a second.
            queue.progress(0.9, "too soon")
            seen.append(tuple(Job.objects.values_list("progress", "phase").get()))
            queue._current.get().told_at = -1.0

    # As if outside a transaction, where it would be seen by others at once.
    monkeypatch.setattr(queue, "connection", SimpleNamespace(in_atomic_block=False))
    register(monkeypatch, work)
    job = queue.enqueue("test.work")
    queue.run(job.pk)
    assert seen == [(0.0, "page 0"), (0.5, "page 1"), (1.0, "page 2")]


def test_outside_a_job_progress_is_nobodys(hints, django_assert_num_queries):
    with django_assert_num_queries(0):
        queue.progress(0.5, "half")


def test_a_waiting_job_is_cancelled_at_once(ran, hints):
    job = queue.enqueue("test.work")
    assert queue.cancel(job.pk) is True
    assert queue.cancel(job.pk) is False
    assert queue.run(job.pk) is False
    job.refresh_from_db()
    assert (job.state, ran) == ("cancelled", [])
    assert job.finished_at is not None
    assert queue.run_again(job.pk) is True
    assert queue.run(job.pk) is True


@pytest.mark.parametrize("atomic", [True, False])
def test_a_running_job_is_cancelled_when_it_next_tells(monkeypatch, hints, atomic):
    steps = []

    def work():
        for step in range(5):
            queue._current.get().told_at = -1.0
            with suppress(Exception):
                queue.progress(step / 5)
            steps.append(step)
            if step == 1:
                assert queue.cancel(job.pk) is True

    monkeypatch.setattr(queue, "connection", SimpleNamespace(in_atomic_block=atomic))
    register(monkeypatch, work)
    job = queue.enqueue("test.work")
    queue.run(job.pk)
    job.refresh_from_db()
    assert (job.state, steps) == ("cancelled", [0, 1])
    # Once more from the start, and not cancelled from the start.
    steps.clear()
    assert queue.run_again(job.pk) is True
    monkeypatch.setattr(queue, "cancel", lambda _pk: True)
    queue.run(job.pk)
    job.refresh_from_db()
    assert (job.state, steps) == ("finished", [0, 1, 2, 3, 4])


def test_what_was_cancelled_is_not_tried_again(monkeypatch, hints):
    def work():
        queue.cancel(job.pk)
        raise RuntimeError("out of paper")

    register(monkeypatch, work)
    job = queue.enqueue("test.work")
    queue.run(job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert "out of paper" in job.error


def test_a_cancelled_job_whose_worker_died_is_cancelled(ran, hints):
    job = queue.enqueue("test.work")
    queue.claim(job.pk)
    queue.cancel(job.pk)
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    queue.sweep()
    job.refresh_from_db()
    assert (job.state, ran) == ("cancelled", [])


def test_a_worker_that_stops_gives_its_job_back(monkeypatch, hints):
    stopping = threading.Event()

    def work():
        queue.progress(0.1)
        stopping.set()
        queue.progress(0.2)

    register(monkeypatch, work)
    job = queue.enqueue("test.work")
    queue.do(queue.claim(job.pk), stopping)
    job.refresh_from_db()
    # As if it had not been begun.
    assert (job.state, job.attempts, job.claim) == ("queued", 0, None)
    assert queue.claim(job.pk) is not None


def test_what_is_done_once_goes_with_the_note_of_it(monkeypatch, hints, make_product):
    """Who was given up for dead leaves no effect behind."""
    product = make_product(stock=5)

    def work():
        Product.objects.filter(pk=product.pk).update(stock_quantity=6)
        if steal:
            Job.objects.update(claim=uuid4())

    register(monkeypatch, work, once=True)
    job, steal = queue.enqueue("test.work"), True
    queue.run(job.pk)
    product.refresh_from_db()
    assert product.stock_quantity == 5
    Job.objects.update(state="queued")
    steal = False
    queue.run(job.pk)
    product.refresh_from_db()
    job.refresh_from_db()
    assert (product.stock_quantity, job.state) == (6, "finished")


def test_a_job_past_its_limit_is_given_up(monkeypatch, hints):
    register(monkeypatch, lambda: "done")
    job = queue.enqueue("test.work")
    row = queue.claim(job.pk)
    queue.renew([row.claim])
    queue.overdue(row)
    job.refresh_from_db()
    assert (job.state, job.error) == ("queued", "It took longer than 600 seconds.")


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
    a_while_ago = timezone.now() - timedelta(seconds=1)
    Job.objects.update(state="running", claim=uuid4(), lease_until=a_while_ago, attempts=1)
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


def test_staff_cancel_and_run_again(client, admin, ran, hints):
    waits, runs = queue.enqueue("test.work"), queue.enqueue("test.work")
    done = Job.objects.create(task="test.work", state="finished")
    queue.claim(runs.pk)
    client.force_login(admin)

    def choose(action):
        client.post(
            "/admin/shop/job/",
            {"action": action, "_selected_action": [waits.pk, runs.pk, done.pk]},
        )
        rows = Job.objects.order_by("pk").values_list("state", "cancel_requested")
        return [f"{state}, to end" if asked else state for state, asked in rows]

    assert choose("cancel") == ["cancelled", "running, to end", "finished"]
    assert choose("run_again") == ["queued", "running, to end", "queued"]


def test_staff_see_how_far_a_job_is_and_why_it_failed(client, admin):
    Job.objects.create(task="a", state="running", progress=0.42, phase="page 3")
    failed = Job.objects.create(
        task="b", state="failed", error="Traceback\n<b>out of paper</b>\n", correlation_id="r-12345"
    )
    client.force_login(admin)
    page = client.get("/admin/shop/job/").content.decode()
    assert "42 % page 3" in page
    assert "&lt;b&gt;out of paper&lt;/b&gt;" in page
    page = client.get(f"/admin/shop/job/{failed.pk}/change/").content.decode()
    assert "<pre>Traceback\n&lt;b&gt;out of paper" in page
    assert "/admin/shop/event/?q=r-12345" in page


def test_old_rows_are_pruned(settings, alice, hints):
    from shop.accounts.models import AccessToken
    from shop.idempotency import IdempotencyKey

    past = timezone.now() - timedelta(days=365)
    Job.objects.create(task="old", state="finished", finished_at=past)
    Job.objects.create(task="older", state="cancelled", finished_at=past)
    Job.objects.create(task="oldest", state="failed", finished_at=past)
    seen = timezone.now() - timedelta(days=5 * settings.JOB_HISTORY_DAYS)
    Job.objects.create(task="kept", state="failed", finished_at=seen)
    Job.objects.create(task="kept", state="queued", due_at=past)
    IdempotencyKey.objects.create(caller="1", key="old", fingerprint="")
    IdempotencyKey.objects.update(created_at=past)
    IdempotencyKey.objects.create(caller="1", key="new", fingerprint="")
    row, _ = AccessToken.issue(alice)
    AccessToken.objects.filter(pk=row.pk).update(expires_at=past)

    job = queue.enqueue("shop.prune")
    queue.run(job.pk)
    job.refresh_from_db()
    assert job.state == "finished"
    assert job.result == "3 jobs, 0 deliveries, 0 attempts, 1 keys, 1 tokens"
    assert set(Job.objects.values_list("task", flat=True)) == {"kept", "shop.prune"}
    assert IdempotencyKey.objects.get().key == "new"


def test_every_scheduled_job_exists():
    from shop.celery import PERIODIC

    assert set(PERIODIC) <= set(queue._registry)
