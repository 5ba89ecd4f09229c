"""The examples of docs/testing.md: its files are run as the projects that it describes."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.test_pytest_plugin import DJANGO_SETTINGS, OPTIONS
from tests.support.servers import ROOT

pytest_plugins = ["pytester"]

BLOCKS = re.findall(
    r"^```python\n# (\S+)\n(.*?)^```", (ROOT / "docs" / "testing.md").read_text(), re.M | re.S
)
URLS = """
from django.urls import path
from shop import views

urlpatterns = [
    path("greet", views.greet), path("friends", views.friends), path("join", views.join)
]
"""


def write(project: pytest.Pytester, *, django: bool) -> int:
    """Writes the files of a project; returns how many tests they have."""
    tests = 0
    for name, code in BLOCKS:
        if ("shop" in name) == django:
            path = project.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
            tests += len(re.findall(r"^ *(?:async )?def test_", code, re.M))
    return tests


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    return pytester


def test_the_examples_pass(project: pytest.Pytester) -> None:
    tests = write(project, django=False)
    assert tests == 13
    result = project.runpytest_subprocess(*OPTIONS, "-p", "no:django")
    result.assert_outcomes(passed=tests)


def test_the_examples_for_django_pass(project: pytest.Pytester) -> None:
    tests = write(project, django=True)
    assert tests == 4
    project.makepyfile(
        project_settings=DJANGO_SETTINGS.replace('{"HOSTS"', '{"EAGER": True, "HOSTS"')
        + 'ROOT_URLCONF = "urls"\n',
        urls=URLS,
    )
    files = ["shop/tests.py", "test_shop_live.py"]
    result = project.runpytest_subprocess(*OPTIONS, "--ds=project_settings", *files)
    result.assert_outcomes(passed=tests)
