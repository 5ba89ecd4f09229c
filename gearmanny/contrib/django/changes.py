"""Changes of the code of a project. Django's autoreload finds them; here they are noted."""

from __future__ import annotations

import contextlib
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.apps import apps
from django.utils import autoreload

_ENDS_WITHIN = 10.0
"""Seconds for which a thread that looks for changes may take to end."""


class Changes:
    """Looks for changes of code in a thread."""

    def __init__(self, notify: Callable[[], object], since: float) -> None:
        """
        Args:
            notify: called without arguments, in that thread, when there is one.
            since: the time, as files have it, of the code that runs.
        """
        self._notify = notify
        self._since = since
        self._changed: Path | None = None
        self._over = False
        self._reloader = autoreload.get_reloader()
        self._thread = threading.Thread(target=self._run, name="gearmanny changes", daemon=True)
        self._thread.start()

    def take(self) -> Path | None:
        """Returns a file that has changed, once."""
        changed, self._changed = self._changed, None
        return changed

    def forget(self) -> None:
        """Lets the thread end after its next look, without a word."""
        self._over = True

    def join(self) -> None:
        """Waits until the thread has ended."""
        self._thread.join(_ENDS_WITHIN)

    def _run(self) -> None:
        autoreload.file_changed.connect(self._note)
        try:
            self._look(self._reloader)
        except Exception as error:
            if self._over or isinstance(self._reloader, autoreload.StatReloader):
                raise
            # It has gone, or takes longer for a large folder than it is given.
            autoreload.logger.warning("Watchman fails (%s): looking at all files instead", error)
            self._look(autoreload.StatReloader())
        finally:
            autoreload.file_changed.disconnect(self._note)

    def _look(self, reloader: autoreload.BaseReloader) -> None:
        # Receivers add files that are not Python: templates, translations, and those of others.
        autoreload.autoreload_started.send_robust(sender=reloader)
        for folder in folders_of_the_project():
            reloader.watch_dir(folder, "*.py")
        self._look_back(reloader)
        for number, _ in enumerate(reloader.tick()):
            if self._over:
                return
            if number == 0:
                self._look_back(reloader)  # over what had changed when the first tick saw it

    def _look_back(self, reloader: autoreload.BaseReloader) -> None:
        """Notes a file that had changed before a tick saw it for the first time."""
        now = time.time()  # a file from the future would have changed again and again
        for path in set(reloader.watched_files()):
            with contextlib.suppress(OSError):
                if self._since < path.stat().st_mtime <= now:
                    self._note(file_path=path)

    def _note(self, *, file_path: Path, **kwargs: object) -> bool:
        if not self._over:
            self._changed = file_path
            self._notify()
        return True  # or Django would leave this thread by sys.exit()


def folders_of_the_project() -> set[Path]:
    """Returns the folders with the code of this project: its apps, and what else it can import that
    was not installed. They are looked at rather than the modules that are imported, which are those
    of another process, and do not include one that cannot be imported."""
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    found: set[Path] = set()
    waiting = [Path(path).resolve() for path in (*sys.path, *_paths_of_apps())]
    roots = set(waiting)
    while waiting:
        folder = waiting.pop()
        if folder in found or folder in installed or folder.name.endswith("-packages"):
            continue
        with contextlib.suppress(OSError):  # there is none, or nobody may look
            entries = list(folder.iterdir())
            if folder in roots or any(each.suffix == ".py" for each in entries):
                found.add(folder)
                waiting += [
                    each.resolve() for each in entries if each.name.isidentifier() and each.is_dir()
                ]
    return found


def _paths_of_apps() -> list[str]:
    return [
        app.path
        for app in apps.get_app_configs()
        if not any(name.endswith("-packages") for name in Path(app.path).parts)
    ]
