"""Every operation of the schema, as each kind of caller: nothing but what the schema says.

The requests go through all of shop/asgi.py's HTTP side in this process.
`.ci/fuzz` sends more of them to a running server.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connections, transaction
from django.test import override_settings
from drf_spectacular.generators import SchemaGenerator

from monitoring.health import Live
from monitoring.middleware import RequestLayer
from shop.server import OneHop
from shop.tests.furnished import Scene, furnish
from shop.tests.fuzzing import CALLERS, Requests, Tally, load

# Once in CI is enough, and PostgreSQL is the stricter of the two databases.
pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

EXAMPLES = 20
DESCRIBED = SchemaGenerator().get_schema(request=None, public=True)
LABELS = [
    f"{method.upper()} {path}"
    for path, operations in DESCRIBED["paths"].items()
    for method in operations
]


class HopOnOneConnection(OneHop):
    """The hop with the test's connection, since nobody else sees into its transaction."""

    def __init__(self, connection: Any) -> None:
        super().__init__(
            threads=1,
            queue=10,
            timeout=60,
            shutdown_timeout=60,
            stream_threads=1,
            stream_max_bytes=0,
            body_max_bytes=1_000_000,
        )
        self._connection = connection
        self._stream_pool = ThreadPoolExecutor(1, initializer=self._share)

    def _share(self) -> None:
        connections["default"] = self._connection

    def _run(self, *args: Any) -> Any:
        self._share()
        return super()._run(*args)

    def end(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        self._stream_pool.shutdown()


@pytest.fixture(scope="module")
def scene(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Iterator[Scene]:
    """A furnished shop, without rate limits."""
    with (
        django_db_blocker.unblock(),
        override_settings(
            PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
            MEDIA_ROOT=tmp_path_factory.mktemp("media"),
            RATE_LIMITS=False,
            ALLOWED_HOSTS=["testserver"],
        ),
        transaction.atomic(),
    ):
        yield furnish()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def requests(scene: Scene) -> Iterator[Requests]:
    """The requests, which go to an application that works in the scene's transaction."""
    connection: Any = connections["default"]
    connection.inc_thread_sharing()
    # Requests and streams end with closing theirs.
    connection.close = lambda: None
    hop = HopOnOneConnection(connection)
    schema = load(DESCRIBED)
    schema.app = RequestLayer(Live(hop))
    yield Requests(schema, scene, examples=EXAMPLES)
    hop.end()
    del connection.close
    connection.dec_thread_sharing()


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("label", LABELS)
def test_nothing_but_what_the_schema_says(
    label: str, caller: str, requests: Requests, scene: Scene
):
    tally = Tally()
    # Bounds are the same for all, and staff get as far as to meet them.
    at_bounds = requests.at_bounds(label) if caller == "admin" else ()
    for case in (*requests.drawn(label), *at_bounds):
        cache.clear()
        with transaction.atomic():
            tally.send(case, scene.headers(caller))
            transaction.set_rollback(True)
    assert not tally.failures, "\n\n".join(
        f"{what}\n{shown}" for what, shown in tally.failures.items()
    )
    # Of a call that takes nothing there is only one to draw.
    assert len(requests.drawn(label)) >= (EXAMPLES // 2 if requests.takes_something(label) else 1)
