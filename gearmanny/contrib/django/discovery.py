"""The workers of a project: the `BaseWorker` subclasses in the `workers.py` of its apps."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from gearmanny.worker import BaseWorker

MODULE = "workers"


class DiscoveryError(Exception):
    """A `workers.py` cannot be imported, or no worker was found."""


@dataclass(frozen=True, slots=True)
class FoundWorker:
    """A worker class, and the module in which it was found."""

    module: str
    worker: type[BaseWorker]

    def __str__(self) -> str:
        return f"{self.module}.{self.worker.__name__}"


def find_workers() -> list[FoundWorker]:
    """Returns the worker classes of all installed apps, in the order of INSTALLED_APPS.

    A class without a `name` from which others derive is their base, not a worker. Any other class
    without a name is returned as well, so that running it reports what is missing.

    Raises:
        DiscoveryError: a `workers.py` cannot be imported, or there is no worker at all.
    """
    found: dict[type[BaseWorker], FoundWorker] = {}
    for app in apps.get_app_configs():
        if app.module is None or not module_has_submodule(app.module, MODULE):
            continue
        name = f"{app.name}.{MODULE}"
        try:
            module = import_module(name)
        except Exception as error:
            raise DiscoveryError(
                f"The workers of the app {app.label!r} cannot be imported: "
                f"{name} raised {type(error).__name__}: {error}"
            ) from error
        for candidate in vars(module).values():
            if _is_worker(candidate):
                found.setdefault(candidate, FoundWorker(name, candidate))
    bases = {base for worker in found for base in worker.__mro__[1:]}
    workers = [
        each for each in found.values() if hasattr(each.worker, "name") or each.worker not in bases
    ]
    if not workers:
        raise DiscoveryError(
            "No worker found. Write a subclass of gearmanny.worker.BaseWorker into the "
            f"{MODULE}.py of an app of INSTALLED_APPS."
        )
    return workers


def _is_worker(candidate: object) -> bool:
    return (
        inspect.isclass(candidate)
        and issubclass(candidate, BaseWorker)
        and candidate is not BaseWorker
    )
