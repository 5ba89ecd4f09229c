"""Django settings of the tests; subprocesses are told more by their environment."""

import json
import os
from datetime import timedelta
from importlib.util import find_spec

import django

SECRET_KEY = "for tests only"
DEBUG = bool(os.environ.get("TEST_DEBUG"))
INSTALLED_APPS = ["gearmanny.contrib.django", os.environ.get("TEST_APP", "tests.djangoapps.good")]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE", ":memory:"),
    }
}
if "TEST_DATABASES" in os.environ:
    DATABASES = json.loads(os.environ["TEST_DATABASES"])
if "TEST_CACHES" in os.environ:
    CACHES = json.loads(os.environ["TEST_CACHES"])
if "TEST_ADMIN" in os.environ:
    INSTALLED_APPS += [
        *("django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes"),
        *("django.contrib.messages", "django.contrib.sessions", "django.contrib.staticfiles"),
    ]
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    if "TEST_STRICT" in os.environ:
        MIDDLEWARE += [
            "django.middleware.csrf.CsrfViewMiddleware",
            "tests.djangoapps.explored.policy.strict",
        ]
        ALLOWED_HOSTS = ["127.0.0.1"]
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ]
    ROOT_URLCONF = "tests.djangoapps.recorded.urls"
    STATIC_URL = "static/"
if "TEST_TASKS" in os.environ:
    TASKS = json.loads(
        os.environ["TEST_TASKS"],
        object_hook=lambda each: timedelta(**each) if each.keys() == {"seconds"} else each,
    )
if find_spec("django_tasks") and not find_spec("django.tasks"):
    INSTALLED_APPS += ["django_tasks"]
USE_TZ = "TEST_NAIVE" not in os.environ
TIME_ZONE = "America/Chicago"
GEARMANNY = {
    "HOSTS": os.environ.get("TEST_HOSTS", "127.0.0.1:1").split(","),
    **({"HOOKS": os.environ["TEST_HOOKS"].split(",")} if "TEST_HOOKS" in os.environ else {}),
    "CONCURRENCY": int(os.environ.get("TEST_CONCURRENCY") or 0) or None,
    "TLS": {"ca": os.environ["TEST_CA"]} if "TEST_CA" in os.environ else None,
    "RECORDS": json.loads(os.environ.get("TEST_RECORDS", "{}")),
    "LIVE_IN_TESTS": "TEST_ALONE" not in os.environ,
    "EMBEDDED": bool(os.environ.get("TEST_EMBEDDED")),
    "POOLS": json.loads(os.environ.get("TEST_POOLS", "{}")),
}
if "TEST_LOGGING" in os.environ:
    LOGGING = json.loads(os.environ["TEST_LOGGING"])
if "TEST_MAILS" in os.environ:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = os.environ["TEST_MAILS"]
    ADMINS = ["ops@example.com"] if django.VERSION >= (6, 0) else [("Ops", "ops@example.com")]
globals().update(json.loads(os.environ.get("TEST_SETTINGS", "{}")))
