"""The pages of monitoring."""

from django.urls import path

from monitoring import views

urlpatterns = [
    path("", views.page, name="monitoring"),
    path("ready", views.ready_answers, name="ready-answers"),
    path("series", views.data, name="monitoring-series"),
]
