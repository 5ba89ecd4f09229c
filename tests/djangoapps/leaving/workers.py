"""Workers that leave behind what Django cleans up after a request."""

import gc
import threading

from asgiref.sync import sync_to_async
from django.core.cache import cache, caches
from django.db import connection
from django.utils import timezone, translation

from gearmanny.worker import BaseWorker, task

gc.disable()


def language_and_zone() -> list[str]:
    """Returns those of a job, and leaves others behind."""
    found = [str(translation.get_language()), timezone.get_current_timezone_name()]
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    return found


def query() -> int:
    """Returns how many queries the log has, after another one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return len(connection.queries)


class Leaving(BaseWorker):
    name = "leaving"
    concurrency = 2

    def setUp(self) -> None:
        language_and_zone()

    def task_language(self) -> list[str]:
        return language_and_zone()

    @task(retries=1, backoff=0)
    def task_language_again(self) -> list[str]:
        found = language_and_zone()
        if self.job.attempt == 1:
            raise OSError
        return found

    async def task_language_later(self) -> list[str]:
        return language_and_zone()

    def task_query(self) -> int:
        return query()

    async def task_query_later(self) -> int:
        return await sync_to_async(query)()

    async def task_idle(self, path: str) -> None:
        await sync_to_async(query)()
        with open(path, "w"):
            pass
        while True:
            try:
                open(path).close()
            except FileNotFoundError:
                return
            await sync_to_async(threading.Event().wait)(0.01)

    def task_remember(self, key: str) -> list[int]:
        """Returns which object the cache is."""
        cache.set(key, 1)
        return [id(caches["default"])]

    async def task_remember_later(self, key: str) -> list[int]:
        await cache.aset(key, 1)
        return [0]

    def task_query_in_a_thread(self) -> None:
        thread = threading.Thread(target=query)
        thread.start()
        thread.join()

    async def task_query_in_a_thread_later(self) -> None:
        await sync_to_async(self.task_query_in_a_thread)()

    def task_leave_a_thread(self) -> None:
        asked = threading.Event()

        def ask_and_stay() -> None:
            query()
            asked.set()
            threading.Event().wait()

        threading.Thread(target=ask_and_stay, name="the lingerer", daemon=True).start()
        asked.wait()
