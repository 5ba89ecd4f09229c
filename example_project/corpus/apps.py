"""The app's configuration."""

from django.apps import AppConfig


class CorpusConfig(AppConfig):
    """`corpus` in INSTALLED_APPS. Its `workers.py` is found by `manage.py runworkers`."""

    name = "corpus"
