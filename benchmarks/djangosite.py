"""Writes a Django project with the admin and 15 models, for `memory.py`.

Its environment names the queue of a process (`QUEUE`), the port of its server (`QUEUE_PORT`), and a
folder (`QUEUE_SEEN`) in which the one task leaves a file for each process that ran it.
"""

from __future__ import annotations

from pathlib import Path

MODELS = 15

SETTINGS = """
import os
from pathlib import Path

BASE = Path(__file__).parent
QUEUE, PORT = os.environ["QUEUE"], os.environ["QUEUE_PORT"]
REDIS = f"redis://127.0.0.1:{PORT}/0"
SECRET_KEY = "benchmark"
ROOT_URLCONF = "urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE / "db.sqlite3"}}
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.sessions", "django.contrib.messages", "shop",
]
APPS = {
    "gearmanny": ["gearmanny.contrib.django"],
    "celery": [],
    "django_tasks_db": ["django_tasks", "django_tasks_db"],
    "dramatiq": ["django_dramatiq"],
    "huey": ["huey.contrib.djhuey"],
    "rq": ["django_rq"],
}
INSTALLED_APPS += [*APPS[QUEUE], f"with_{QUEUE}"]
GEARMANNY = {"HOSTS": [f"127.0.0.1:{PORT}"], "THREADS": int(os.environ.get("QUEUE_PROCESSES", 1))}
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
DRAMATIQ_BROKER = {
    "BROKER": "dramatiq.brokers.redis.RedisBroker", "OPTIONS": {"url": REDIS},
    "MIDDLEWARE": ["django_dramatiq.middleware.DbConnectionsMiddleware"],
}
HUEY = {"huey_class": "huey.RedisHuey", "url": REDIS, "immediate": False}
RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": int(PORT), "DB": 0}}
"""

SEEN = """
import gc
import os
import time
from pathlib import Path


def seen():
    "Collects all garbage, tells which process did, and waits, so that each process gets a job."
    gc.collect()
    folder = Path(os.environ["QUEUE_SEEN"])
    (folder / str(os.getpid())).touch()
    while not (folder / "measured").exists():
        time.sleep(0.01)
"""

TASKS = {
    "gearmanny": """
from gearmanny.contrib.django import client
from gearmanny.worker import BaseWorker
from seen import seen


class SeenWorker(BaseWorker):
    name = "seen"

    def task_now(self) -> None:
        seen()


def submit():
    client.using(background=True).seen_now()
""",
    "celery": """
from celery import Celery
from django.conf import settings
from seen import seen

app = Celery("with_celery", broker=settings.REDIS)
task = app.task(name="seen")(seen)


def submit():
    task.delay()
""",
    "django_tasks_db": """
from django_tasks import task
from seen import seen


@task()
def now():
    seen()


def submit():
    now.enqueue()
""",
    "dramatiq": """
import dramatiq
from seen import seen

actor = dramatiq.actor(seen)


def submit():
    actor.send()
""",
    "huey": """
from huey.contrib.djhuey import task
from seen import seen

now = task()(seen)


def submit():
    now()
""",
    "rq": """
import django_rq
from seen import seen


def submit():
    django_rq.get_queue().enqueue(seen)
""",
}

MANAGE = """
import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""

SUBMIT = """
import importlib
import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
module = "workers" if os.environ["QUEUE"] == "gearmanny" else "tasks"
submit = importlib.import_module(f"with_{os.environ['QUEUE']}.{module}").submit
for number in sys.stdin:
    for _ in range(int(number)):
        submit()
    print("submitted", flush=True)
"""

CELERY_APP = """
import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
from with_celery.tasks import app
"""


def write(folder: Path) -> None:
    """Writes the project into a folder."""
    models = ["from django.db import models\n"]
    admin = ["from django.contrib import admin\n\nfrom shop import models\n"]
    for number in range(MODELS):
        models.append(
            f"\nclass Model{number}(models.Model):\n"
            "    name = models.CharField(max_length=100, db_index=True)\n"
            "    price = models.DecimalField(max_digits=9, decimal_places=2, default=0)\n"
            "    made = models.DateTimeField(auto_now_add=True)\n"
            + (f"    other = models.ForeignKey(Model{number - 1}, models.CASCADE)\n" * (number > 0))
        )
        admin.append(f"admin.site.register(models.Model{number})\n")
    files = {
        "settings.py": SETTINGS,
        "urls.py": "from django.contrib import admin\nfrom django.urls import path\n\n"
        "urlpatterns = [path('admin/', admin.site.urls)]\n",
        "seen.py": SEEN,
        "manage.py": MANAGE,
        "submit.py": SUBMIT,
        "celery_app.py": CELERY_APP,
        "shop/__init__.py": "",
        "shop/models.py": "".join(models),
        "shop/admin.py": "".join(admin),
    }
    for name, tasks in TASKS.items():
        module = "workers" if name == "gearmanny" else "tasks"
        files |= {f"with_{name}/__init__.py": "", f"with_{name}/{module}.py": tasks}
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text.lstrip(), encoding="utf-8")
