"""Addresses: one page, its stream, and the JSON that it and programs ask for."""

from django.urls import path

from corpus import reports, views

app_name = "corpus"

urlpatterns = [
    path("", views.index, name="index"),
    path("survey/", views.survey, name="survey"),
    path("survey/<uuid:id>/", views.follow, name="follow"),
    path("api/packages/", views.packages, name="packages"),
    path("api/search/", views.search, name="search"),
    path("api/compare/", views.compare, name="compare"),
    path("api/census/", views.census, name="census"),
    path("api/reports/", reports.reports, name="reports"),
    path("api/reports/<uuid:id>/retry/", reports.retry, name="retry"),
]
