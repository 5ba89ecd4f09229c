"""Django settings of the tests; subprocesses are told more by their environment."""

import json
import os

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
USE_TZ = True
TIME_ZONE = "America/Chicago"
GEARMANNY = {
    "HOSTS": os.environ.get("TEST_HOSTS", "127.0.0.1:1").split(","),
    **({"HOOKS": os.environ["TEST_HOOKS"].split(",")} if "TEST_HOOKS" in os.environ else {}),
    "CONCURRENCY": int(os.environ.get("TEST_CONCURRENCY") or 0) or None,
    "TLS": {"ca": os.environ["TEST_CA"]} if "TEST_CA" in os.environ else None,
    "LIVE_IN_TESTS": True,
    "EMBEDDED": bool(os.environ.get("TEST_EMBEDDED")),
}
