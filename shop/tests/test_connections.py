"""Connections to PostgreSQL: one that has ended is noticed, however it has."""

import os
import socket

import pytest
from django.conf import settings
from django.db import close_old_connections, connection

from shop.accounts.models import User

pytestmark = pytest.mark.postgresql


@pytest.mark.django_db(transaction=True)
def test_one_that_the_server_has_ended_is_replaced_before_it_is_used():
    connection.ensure_connection()
    ended = connection.connection.info.backend_pid
    other = connection.copy()
    with other.cursor() as cursor:
        # Returns when it has ended.
        cursor.execute("SELECT pg_terminate_backend(%s, 30000)", [ended])
    other.close()

    # As at the beginning of each request.
    close_old_connections()
    assert not User.objects.exists()
    replaced = connection.connection.info.backend_pid
    assert replaced != ended

    # One that stands is kept.
    close_old_connections()
    assert not User.objects.exists()
    assert connection.connection.info.backend_pid == replaced


@pytest.mark.django_db
def test_a_host_that_has_gone_without_a_word_is_given_up_before_the_request_is():
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as sock:
        if sock.family == socket.AF_UNIX:
            return

        def option(name):
            return sock.getsockopt(socket.IPPROTO_TCP, name)

        unanswered = option(socket.TCP_USER_TIMEOUT) / 1000
        unheard = option(socket.TCP_KEEPIDLE) + (
            option(socket.TCP_KEEPINTVL) * option(socket.TCP_KEEPCNT)
        )
    assert 0 < unanswered < settings.REQUEST_TIMEOUT
    assert 0 < unheard < settings.REQUEST_TIMEOUT
