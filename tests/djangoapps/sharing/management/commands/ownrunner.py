"""A command of a project that runs workers without `runworkers`."""

from django.conf import settings
from django.core.management.base import BaseCommand

from gearmanny.contrib.django.forking import closed_before_forks
from gearmanny.workrunner import WorkRunner
from tests.djangoapps.sharing.workers import Sharing


class Command(BaseCommand):
    def handle(self, *args, **options):
        with closed_before_forks():
            WorkRunner([Sharing], settings.GEARMANNY["HOSTS"]).start(2)
