"""Which classes of a project's `workers.py` are run as workers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import override_settings

from gearmanny.contrib.django.discovery import DiscoveryError, find_workers


def found_in(app: str) -> list[str]:
    with override_settings(INSTALLED_APPS=["gearmanny.contrib.django", app]):
        return sorted(map(str, find_workers()))


def test_the_modules_of_a_workers_package_are_searched() -> None:
    found = found_in("tests.djangoapps.shapes")
    assert "tests.djangoapps.shapes.workers.mail.Mail" in found
    assert "tests.djangoapps.shapes.workers.reports.yearly.Yearly" in found


def test_an_abstract_class_does_not_hide_what_derives_from_it() -> None:
    assert not any("Sender" in found for found in found_in("tests.djangoapps.shapes"))


def test_an_imported_worker_is_run_only_where_it_is_named() -> None:
    found = found_in("tests.djangoapps.shapes")
    assert "tests.djangoapps.good.workers.Other" in found
    assert not any("Good" in name for name in found)


def test_a_worker_that_is_found_twice_is_run_once() -> None:
    found = found_in("tests.djangoapps.shapes")
    assert len([name for name in found if name.endswith(".Mail")]) == 1


Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Makes an app with modules of some texts; returns its name."""
    app = f"app_{uuid.uuid4().hex}"
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> str:
        for name, text in {"__init__": "", **modules}.items():
            path = tmp_path / app / f"{name.replace('_in_', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return app

    return write


WORKER = """
from gearmanny.worker import BaseWorker
class Mail(BaseWorker):
    name = "mail"
"""

LAZY = """
from django.utils.functional import SimpleLazyObject
settings_of_the_project = SimpleLazyObject(lambda: 1 / 0)
def __getattr__(name):
    raise LookupError(name)
"""


def test_a_module_that_exits_says_so(write: Write) -> None:
    with pytest.raises(
        DiscoveryError, match=r"workers raised SystemExit: 3 \(.*workers\.py, line 2"
    ):
        found_in(write(workers="import sys\nsys.exit(3)"))


def test_what_is_lazy_is_not_evaluated(write: Write) -> None:
    app = write(workers=WORKER + LAZY)
    assert found_in(app) == [f"{app}.workers.Mail"]


def test_a_program_in_a_package_is_not_run(write: Write) -> None:
    app = write(workers_in___init__=WORKER, workers_in___main__="raise SystemExit")
    assert found_in(app) == [f"{app}.workers.Mail"]


def test_a_folder_that_is_no_package_is_named(write: Write) -> None:
    app = write(workers_in___init__="", workers_in_mail_in_send=WORKER)
    with pytest.raises(
        DiscoveryError, match=r"workers/mail has no __init__\.py, so its modules are not searched\."
    ):
        found_in(app)


def test_an_app_that_only_imports_workers_says_how_to_run_them() -> None:
    with pytest.raises(DiscoveryError) as caught:
        found_in("tests.djangoapps.borrowing")
    assert str(caught.value).endswith(
        "tests.djangoapps.borrowing.workers imports Good from elsewhere; to run imported "
        "workers, name them in its __all__."
    )
