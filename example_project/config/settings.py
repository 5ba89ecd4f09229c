"""Settings of the example project. What differs between machines comes from the environment."""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

OFF = ("", "0", "false", "no", "off")

DEBUG = os.environ.get("DEBUG", "1").lower() not in OFF
# Without one of its own, a process makes one up, which no other knows: good enough for DEBUG alone.
SECRET_KEY = os.environ.get("SECRET_KEY") or (get_random_secret_key() if DEBUG else "")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "gearmanny.contrib.django",
    "corpus",
]

# Where users, and the records of background jobs and schedules are. Run `manage.py migrate` first.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", BASE_DIR / "corpus.sqlite3"),
        # Many processes write to it, and wait for each other.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}

GEARMANNY = {
    "HOSTS": os.environ.get("GEARMAN_HOSTS", "localhost:4730").split(","),
    # Nothing to install: runworkers starts a job server unless one runs. Production has gearmand.
    "EMBEDDED": os.environ.get("GEARMAN_EMBEDDED", "1").lower() not in OFF,
    "TIMEOUT": 60,
    # Reports, which nobody waits for, have a process of their own.
    "POOLS": {"default": {"threads": 2}, "reports": {"workers": ["reports"]}},
    "RECORDS": {"STORE": "database"},
    "CACHE": {
        "HOST": os.environ.get("MONGODB_URI", "mongodb://localhost:27017/"),
        "DBNAME": "gearmanny_example",
    },
}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
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
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
