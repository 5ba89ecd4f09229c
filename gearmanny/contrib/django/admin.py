"""The jobs and the schedules in Django's admin site."""

from __future__ import annotations

from django.contrib import admin

from gearmanny.contrib.django import scheduleadmin as scheduleadmin  # noqa: PLC0414  registers
from gearmanny.contrib.django.explorer.jobadmin import JobRecordAdmin
from gearmanny.contrib.django.models import JobRecord

admin.site.register(JobRecord, JobRecordAdmin)
