"""The task, of the kind that the backend of the settings takes."""

from importlib.util import find_spec

from django.conf import settings

if settings.TASKS["default"]["BACKEND"].startswith("django_tasks_rq") or not find_spec(
    "django.tasks"
):
    from django_tasks import task
else:
    from django.tasks import task


@task
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b
