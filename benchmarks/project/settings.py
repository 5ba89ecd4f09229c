"""A Django project with the admin and 15 models, for every queue that `benchmarks/queues.py` names.

The environment says how it runs:

    QUEUE               the queue: a key of APPS
    QUEUE_PORT          the port of its server
    QUEUE_PROCESSES     how many worker processes it has, where the settings say that
    QUEUE_FOLDER        where tasks leave what they note, and SQLite its file
    QUEUE_DATABASE      DATABASES["default"] as JSON, where jobs and results are kept in a database
"""

import json
import os
from pathlib import Path

QUEUE, PORT = os.environ["QUEUE"], os.environ["QUEUE_PORT"]
PROCESSES = int(os.environ.get("QUEUE_PROCESSES", "1"))
IS_DURABLE = "QUEUE_DATABASE" in os.environ
REDIS = f"redis://127.0.0.1:{PORT}/0"

SECRET_KEY = "benchmark"
ROOT_URLCONF = "urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["QUEUE_FOLDER"]) / "db.sqlite3",
    }
}
if IS_DURABLE:
    DATABASES = {"default": json.loads(os.environ["QUEUE_DATABASE"])}
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
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
APPS = {
    "celery": ["django_celery_results"] if IS_DURABLE else [],
    "django_q": ["django_q"],
    "django_tasks_db": ["django_tasks", "django_tasks_db"],
    "dramatiq": ["django_dramatiq"],
    "gearmanny": ["gearmanny.contrib.django"],
    "huey": ["huey.contrib.djhuey"],
    "procrastinate": ["procrastinate.contrib.django"],
    "rq": ["django_rq"],
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "shop",
    *APPS[QUEUE],
    f"with_{QUEUE}",
]

GEARMANNY = {"HOSTS": [f"127.0.0.1:{PORT}"], "THREADS": PROCESSES}
if IS_DURABLE:
    GEARMANNY["RECORDS"] = {"STORE": "database"}

CELERY_BROKER_URL = REDIS
if IS_DURABLE:
    CELERY_RESULT_BACKEND = "django-db"

if QUEUE == "django_tasks_db":  # Django 6 checks the backend of every project
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

# As its documentation has it for the ORM. All results are kept, not the last 250 alone.
Q_CLUSTER = {
    "name": "bench",
    "workers": PROCESSES,
    "timeout": 90,
    "retry": 120,
    "queue_limit": 50,
    "bulk": 10,
    "orm": "default",
    "save_limit": 0,
}

DRAMATIQ_BROKER = {
    "BROKER": "dramatiq.brokers.redis.RedisBroker",
    "OPTIONS": {"url": REDIS},
    "MIDDLEWARE": ["django_dramatiq.middleware.DbConnectionsMiddleware"],
}
HUEY = {"huey_class": "huey.RedisHuey", "url": REDIS, "immediate": False}
RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": int(PORT), "DB": 0}}
