"""Settings of the example project. What differs between machines comes from the environment."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

OFF = ("", "0", "false", "no", "off")

# Good enough for a demo on loopback: there are no sessions, and nothing is signed.
SECRET_KEY = os.environ.get("SECRET_KEY", "for-the-demo-only")
DEBUG = os.environ.get("DEBUG", "1").lower() not in OFF
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.staticfiles",
    "gearmanny.contrib.django",
    "corpus",
]

# Where the records of background jobs and schedules are. Run `manage.py migrate` first.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", BASE_DIR / "corpus.sqlite3"),
    }
}

GEARMANNY = {
    "HOSTS": os.environ.get("GEARMAN_HOSTS", "localhost:4730").split(","),
    # Nothing to install: runworkers starts a job server unless one runs. Production has gearmand.
    "EMBEDDED": os.environ.get("GEARMAN_EMBEDDED", "1").lower() not in OFF,
    "TIMEOUT": 60,
    "RECORDS": {"STORE": "database"},
    "CACHE": {
        "HOST": os.environ.get("MONGODB_URI", "mongodb://localhost:27017/"),
        "DBNAME": "gearmanny_example",
    },
}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
    }
]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
USE_TZ = True
USE_I18N = False
