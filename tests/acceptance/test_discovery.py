"""Which classes of a project's `workers.py` are run as workers."""

from __future__ import annotations

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


def test_an_app_that_only_imports_workers_says_how_to_run_them() -> None:
    with pytest.raises(DiscoveryError) as caught:
        found_in("tests.djangoapps.borrowing")
    assert str(caught.value).endswith(
        "tests.djangoapps.borrowing.workers imports Good from elsewhere; to run imported "
        "workers, name them in its __all__."
    )
