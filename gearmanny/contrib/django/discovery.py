"""The workers of a project: the `BaseWorker` subclasses in the `workers.py` of its apps."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from gearmanny.worker import BaseWorker

MODULE = "workers"


class DiscoveryError(Exception):
    """A `workers.py` cannot be imported, or no worker was found."""


@dataclass(frozen=True, slots=True)
class FoundWorker:
    """A worker class, and the module that defines it."""

    module: str
    worker: type[BaseWorker]

    def __str__(self) -> str:
        return f"{self.module}.{self.worker.__name__}"


def find_workers() -> list[FoundWorker]:
    """Returns the worker classes of all installed apps, in the order of INSTALLED_APPS.

    If `workers` is a package, all of its modules are imported. A class that is imported from
    elsewhere is not a worker of the app, unless `__all__` of the module names it: it may be there
    to be called, or to be derived from. Nor is an abstract class, or one without a `name` from
    which others derive. Any other class without a name is returned as well, so that running it
    reports what is missing.

    Raises:
        DiscoveryError: a `workers.py` cannot be imported, or there is no worker at all.
    """
    found: dict[type[BaseWorker], FoundWorker] = {}
    imported: dict[str, list[str]] = {}
    for app in apps.get_app_configs():
        if app.module is None or not module_has_submodule(app.module, MODULE):
            continue
        name = f"{app.name}.{MODULE}"
        for module in _import_all(name, app.label):
            for candidate in _workers_in(module):
                if _belongs_to(candidate, module, name):
                    found.setdefault(candidate, FoundWorker(candidate.__module__, candidate))
                else:
                    imported.setdefault(module.__name__, []).append(candidate.__name__)
    bases = {base for worker in found for base in worker.__mro__[1:]}
    workers = [
        each for each in found.values() if hasattr(each.worker, "name") or each.worker not in bases
    ]
    if not workers:
        raise DiscoveryError(_nothing_found(imported))
    return workers


def _import_all(name: str, label: str) -> list[ModuleType]:
    """Imports the workers of an app: a module, or a package with all that is in it.

    Raises:
        DiscoveryError: one of them cannot be imported.
    """
    names, modules = [name], []
    while names:
        name = names.pop(0)
        try:
            module = import_module(name)
        except Exception as error:
            raise DiscoveryError(
                f"The workers of the app {label!r} cannot be imported: "
                f"{name} raised {type(error).__name__}: {error}"
            ) from error
        modules.append(module)
        names += sorted(
            f"{name}.{found.name}" for found in iter_modules(getattr(module, "__path__", []))
        )
    return modules


def _workers_in(module: ModuleType) -> list[type[BaseWorker]]:
    return [
        candidate
        for candidate in vars(module).values()
        if inspect.isclass(candidate)
        and issubclass(candidate, BaseWorker)
        and candidate is not BaseWorker
        and not inspect.isabstract(candidate)
    ]


def _belongs_to(worker: type[BaseWorker], module: ModuleType, package: str) -> bool:
    """Returns whether a worker is one of an app, and not imported to be called or derived from."""
    home = worker.__module__
    return (
        home == package
        or home.startswith(f"{package}.")
        or worker.__name__ in getattr(module, "__all__", ())
    )


def _nothing_found(imported: dict[str, list[str]]) -> str:
    text = (
        "No worker found. Write a subclass of gearmanny.worker.BaseWorker into the "
        f"{MODULE}.py of an app of INSTALLED_APPS."
    )
    for module, names in imported.items():
        text += (
            f" {module} imports {', '.join(names)} from elsewhere; to run imported workers, "
            "name them in its __all__."
        )
    return text
