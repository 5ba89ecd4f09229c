"""The workers of a project: the `BaseWorker` subclasses in the `workers.py` of its apps."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.utils.module_loading import module_has_submodule

from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import InvalidOption
from gearmanny.worker import BaseWorker

MODULE, TASKS = "workers", "tasks"

_MACHINERY = (__file__, importlib.__file__)
"""Files through which every import goes."""


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
    """Returns the worker classes of all installed apps, in the order of INSTALLED_APPS, and the
    one that runs Django's tasks, if `TASKS` names our backend, and the one that the explorer needs.

    If `workers` is a package, all of its modules are imported. A class that is imported from
    elsewhere is not a worker of the app, unless `__all__` of the module names it: it may be there
    to be called, or to be derived from. Nor is an abstract class, or one without a `name` from
    which others derive. Any other class without a name is returned as well, so that running it
    reports what is missing.

    Raises:
        DiscoveryError: a `workers.py` cannot be imported, or there is no worker at all.
    """
    search = Search()
    for app in apps_with_workers():
        search.add(app)
    workers = [*search.workers, *workers_of_tasks()]
    if not workers:
        raise DiscoveryError(_nothing_found(search))
    return [*workers, *workers_of_explorer()]


def importable_workers() -> list[FoundWorker]:
    """Returns the worker classes of the installed apps, but those that cannot be imported."""
    search = Search()
    for app in apps_with_workers():
        with contextlib.suppress(DiscoveryError):
            search.add(app)
    return search.workers


def workers_of_tasks() -> list[FoundWorker]:
    """Returns the worker that runs Django's tasks, if `TASKS` names our backend. The modules
    `tasks` of the apps are imported then.

    Raises:
        DiscoveryError: one of them cannot be imported, or the options of a task are invalid.
    """
    if not getattr(django_settings, "TASKS", None):
        return []
    from gearmanny.contrib.django.taskworker import worker_of_tasks  # noqa: PLC0415  may be missing

    worker = worker_of_tasks()
    if worker is None:
        return []
    from gearmanny.contrib.django.declaredtasks import declared_tasks  # noqa: PLC0415

    for app in _apps_with(TASKS):
        _import_all(app, TASKS)
    try:
        declared_tasks()
    except InvalidOption as error:
        raise DiscoveryError(str(error)) from None
    return [FoundWorker(worker.__module__, worker)]


def workers_of_explorer() -> list[FoundWorker]:
    """Returns the worker that changes records for the admin site, if there are both."""
    if get_settings().RECORDS.STORE is None or not apps.is_installed("django.contrib.admin"):
        return []
    from gearmanny.contrib.django.explorer.worker import RecordsWorker  # noqa: PLC0415  models

    return [FoundWorker(RecordsWorker.__module__, RecordsWorker)]


def apps_with_workers() -> list[AppConfig]:
    """Returns the installed apps that have a `workers.py`, in the order of INSTALLED_APPS."""
    return _apps_with(MODULE)


def _apps_with(module: str) -> list[AppConfig]:
    return [
        app
        for app in apps.get_app_configs()
        if app.module is not None and module_has_submodule(app.module, module)
    ]


class Search:
    """The worker classes of some apps."""

    def __init__(self) -> None:
        self._found: dict[type[BaseWorker], FoundWorker] = {}
        self.imported: dict[str, list[str]] = {}
        """The names of the classes that modules only import, by module."""
        self.not_searched: list[str] = []
        """Folders with modules that are no packages."""

    def add(self, app: AppConfig) -> None:
        """Imports the workers of an app.

        Args:
            app: the app.

        Raises:
            DiscoveryError: they cannot be imported.
        """
        name = f"{app.name}.{MODULE}"
        for module in _import_all(app, MODULE):
            self.not_searched += _not_searched(module)
            for candidate in _workers_in(module):
                if _belongs_to(candidate, module, name):
                    self._found.setdefault(candidate, FoundWorker(candidate.__module__, candidate))
                else:
                    self.imported.setdefault(module.__name__, []).append(candidate.__name__)

    @property
    def workers(self) -> list[FoundWorker]:
        """The classes to be run, and those that cannot be, because of what they lack."""
        bases = {base for worker in self._found for base in worker.__mro__[1:]}
        return [
            each
            for each in self._found.values()
            if hasattr(each.worker, "name") or each.worker not in bases
        ]


def _import_all(app: AppConfig, what: str) -> list[ModuleType]:
    """Imports the workers or the tasks of an app: a module, or a package with all that is in it.

    Raises:
        DiscoveryError: one of them cannot be imported.
    """
    names, modules = [f"{app.name}.{what}"], []
    while names:
        name = names.pop(0)
        try:
            module = import_module(name)
        except (Exception, SystemExit) as error:
            raise DiscoveryError(
                f"The {what} of the app {app.label!r} cannot be imported: "
                f"{name} raised {type(error).__name__}: {error}{_place_of(error)}"
            ) from error
        modules.append(module)
        names += sorted(
            f"{name}.{found.name}"
            for found in iter_modules(vars(module).get("__path__", ()))
            if found.name != "__main__"  # which is a program
        )
    return modules


def _not_searched(module: ModuleType) -> list[str]:
    """Returns the folders in a package that have modules, but are no packages themselves."""
    folders = [
        folder for path in vars(module).get("__path__", ()) for folder in Path(path).glob("*/")
    ]
    return sorted(
        str(folder)
        for folder in folders
        if not (folder / "__init__.py").exists() and any(folder.glob("*.py"))
    )


def _place_of(error: BaseException) -> str:
    """Returns the file and the line that an import failed in, as the end of a sentence."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f" ({error.filename})"  # its text has the line, and only the name of the file
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen ") and frame.filename not in _MACHINERY
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _workers_in(module: ModuleType) -> list[type[BaseWorker]]:
    return [
        candidate
        for candidate in vars(module).values()
        if issubclass(type(candidate), type)  # `isinstance` would evaluate what is lazy
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
        or worker.__name__ in vars(module).get("__all__", ())
    )


def _nothing_found(search: Search) -> str:
    text = (
        "No worker found. Write a subclass of gearmanny.worker.BaseWorker into the "
        f"{MODULE}.py of an app of INSTALLED_APPS."
    )
    for folder in search.not_searched:
        text += f" {folder} has no __init__.py, so its modules are not searched."
    for module, names in search.imported.items():
        text += (
            f" {module} imports {', '.join(names)} from elsewhere; to run imported workers, "
            "name them in its __all__."
        )
    return text
