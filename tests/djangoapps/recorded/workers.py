"""A worker that writes what it is told into the database."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group

from gearmanny.worker import BaseWorker, task


class Recorded(BaseWorker):
    name = "recorded"

    def task_write(self, name: str) -> str:
        Group.objects.create(name=name)
        return name

    async def task_write_async(self, name: str) -> str:
        await Group.objects.acreate(name=name)
        return name

    @task(atomic=True)
    def task_write_and_fail(self, name: str, fails: bool = True) -> str:
        Group.objects.create(name=name)
        if fails:
            raise ValueError(name)
        return name

    def task_read(self, id: int) -> str:
        return Group.objects.get(id=id).name

    def task_write_later(self, name: str) -> Any:
        from gearmanny.contrib.django import client  # noqa: PLC0415

        return client.using(background=True).recorded_write(name=name).id
