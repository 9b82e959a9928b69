"""`plain_settings` with the middleware that `startproject` writes, and django-prometheus's.

All of it works synchronously and asynchronously, so Django's own ASGI handler
runs it asynchronously and crosses to a thread for each hook. In the shop's own
stack a middleware that is only synchronous comes last, and Django then runs
the whole stack in one thread.
"""

from benchmarks.plain_settings import *  # noqa: F403

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
