"""Lists in the admin end where counting would begin to cost, and search by index."""

import pytest
from django.db import connection, migrations, models
from django.test.utils import CaptureQueriesContext

from shop.accounts.models import User
from shop.database.operations import AddIndexLive
from shop.events.models import Event
from shop.jobs.models import Job
from shop.lists import BoundedPaginator, LongList

pytestmark = pytest.mark.django_db


def jobs(number, **fields):
    Job.objects.bulk_create(Job(task=f"shop.{n}", **fields) for n in range(number))


def test_a_list_counts_no_further_than_it_shows():
    jobs(5)
    short, cut = (BoundedPaginator(Job.objects.order_by("-pk"), 2, most=most) for most in (5, 4))
    assert (short.count, short.num_pages, short.is_cut) == (5, 3, False)
    with CaptureQueriesContext(connection) as queries:
        assert (cut.count, cut.num_pages, cut.is_cut) == (4, 2, True)
    assert len(queries) == 1
    assert "LIMIT 5" in queries[0]["sql"]
    assert len(cut.page(2).object_list) == 2


def test_where_it_is_cut_it_says_so(client, admin, monkeypatch):
    jobs(4)
    client.force_login(admin)
    page = client.get("/admin/shop/job/").content.decode()
    assert "4 jobs" in page
    assert "Select all that match" not in page
    monkeypatch.setattr(LongList, "most", 3)
    monkeypatch.setattr(LongList, "list_per_page", 2)
    page = client.get("/admin/shop/job/?p=2")
    assert len(page.context["cl"].result_list) == 1
    text = page.content.decode()
    assert "more than 3 jobs" in text
    assert "Select all that match" in text
    assert client.get("/admin/shop/job/?p=3")["Location"] == "/admin/shop/job/?e=1"


def test_values_of_the_newest_rows_are_the_choices(client, admin, monkeypatch):
    jobs(3, state="failed")
    monkeypatch.setattr("shop.lists.LatelyFilter.newest", 2)
    client.force_login(admin)

    def choices(query):
        page = client.get(f"/admin/shop/job/?{query}")
        spec = next(s for s in page.context["cl"].filter_specs if s.title == "task")
        shown = {str(choice["display"]) for choice in spec.choices(page.context["cl"])}
        return shown, [job.task for job in page.context["cl"].result_list]

    assert choices("")[0] == {"All", "shop.1", "shop.2"}
    # One that is asked for by hand is there as well.
    assert choices("task=shop.0") == ({"All", "shop.0", "shop.1", "shop.2"}, ["shop.0"])


def test_events_are_found_by_subject_order_and_request(client, admin, alice, make_order):
    order, other = make_order(alice), make_order(alice)
    Event.objects.filter(subject=order.subject).update(correlation_id="abc-1")
    client.force_login(admin)
    for text in (order.subject, str(order.pk), "abc-1"):
        page = client.get("/admin/shop/event/", {"q": text})
        assert [event.subject for event in page.context["cl"].result_list] == [order.subject]
    Event.objects.update(time="2020-01-01T00:00Z")
    assert not client.get("/admin/shop/event/?q=abc-1").context["cl"].result_list
    assert other.pk != order.pk


def test_people_are_found_by_beginnings_else_by_any_part(client, admin, alice, bob):
    User.objects.filter(pk=bob.pk).update(last_name="Kim", email="Builder@example.com")
    client.force_login(admin)

    def found(text):
        page = client.get("/admin/shop/user/", {"q": text})
        return [user.username for user in page.context["cl"].result_list]

    assert found("ali") == found("Alice") == ["alice"]
    assert found("builder@EX") == ["bob"]
    assert found("kim") == ["bob"]
    assert found("lic") == ["alice"]
    assert found("zzz") == []


def test_too_many_jobs_are_not_run_again(client, admin, monkeypatch):
    jobs(3, state="failed")
    monkeypatch.setattr("shop.bulk.MOST", 2)
    client.force_login(admin)
    chosen = list(Job.objects.values_list("pk", flat=True))
    page = client.post(
        "/admin/shop/job/", {"action": "run_again", "_selected_action": chosen}, follow=True
    )
    assert "At most 2 at once" in page.content.decode()
    assert set(Job.objects.values_list("state", flat=True)) == {"failed"}


class TestIndexes:
    """Indexes of big tables are built while others write."""

    OPERATION = AddIndexLive("job", models.Index(fields=["task"], name="job_task_tried"))

    def go(self, forwards=True):
        before = migrations.state.ProjectState.from_apps(migrations.loader.apps)
        after = before.clone()
        self.OPERATION.state_forwards("shop", after)
        with connection.schema_editor(atomic=False) as editor:
            if forwards:
                self.OPERATION.database_forwards("shop", editor, before, after)
            else:
                self.OPERATION.database_backwards("shop", editor, after, before)

    def names(self):
        with connection.cursor() as cursor:
            return connection.introspection.get_constraints(cursor, "shop_job").keys()

    @pytest.mark.django_db(transaction=True)
    def test_there_and_back(self):
        self.go()
        assert "job_task_tried" in self.names()
        self.go(forwards=False)
        assert "job_task_tried" not in self.names()

    @pytest.mark.postgresql
    @pytest.mark.django_db(transaction=True)
    def test_one_that_was_broken_off_is_built_anew_without_time_outs(self):
        with connection.cursor() as cursor:
            cursor.execute("CREATE INDEX job_task_tried ON shop_job (state)")
            cursor.execute("SHOW statement_timeout")
            usual = cursor.fetchone()
        with CaptureQueriesContext(connection) as queries:
            self.go()
        told = [query["sql"] for query in queries]
        assert any("CREATE INDEX CONCURRENTLY" in sql for sql in told)
        assert told.index("SET statement_timeout = 0") < told.index("RESET statement_timeout")
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == usual
            found = connection.introspection.get_constraints(cursor, "shop_job")
        assert found["job_task_tried"]["columns"] == ["task"]
        self.go(forwards=False)
