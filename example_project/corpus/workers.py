"""The workers: expensive work, done outside the processes of the site."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from corpus.packages import STDLIB, Package, find_sources, list_packages
from corpus.survey import Hits, Row, Totals, search, summarise, survey_file
from gearmanny.contrib.django import cachewrap
from gearmanny.worker import BaseWorker, task


class CorpusWorker(BaseWorker):
    """Reads the Python source of the packages that are installed where it runs."""

    name = "corpus"

    def task_packages(self) -> list[Package]:
        """Lists the packages that can be surveyed"""
        return list_packages()

    def task_survey(self, package: str = STDLIB) -> Iterator[Row]:
        """Counts lines, classes and functions, file by file; rows are sent as they are found"""
        yield from map(survey_file, self.progress(find_sources(package)))

    @cachewrap("corpus_search", max_days_age=1)
    def task_search(self, package: str, text: str) -> Hits:
        """Finds classes and functions whose name contains a text; answers are cached for a day"""
        return search(find_sources(package), text)


class ReportsWorker(BaseWorker):
    """Does what nobody waits for, in a pool of its own: however long it takes, surveys go on."""

    name = "reports"

    @task(retries=2, backoff=1)
    def task_write(self, package: str) -> Totals:
        """Surveys a package for later; tried again if it is missing, as while it is installed"""
        return summarise(map(survey_file, self.progress(find_sources(package))))

    @task(every=timedelta(seconds=10), timeout=60)
    def task_census(self) -> dict[str, int]:
        """Counts the packages that can be surveyed and their files; runs by itself"""
        packages = list_packages()
        sources = [find_sources(package["name"]) for package in packages]
        return {"packages": len(packages), "files": sum(map(len, sources))}
