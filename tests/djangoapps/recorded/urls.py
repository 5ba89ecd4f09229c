"""Three admin sites."""

from django.contrib import admin
from django.urls import path

from gearmanny.contrib.django.explorer.jobadmin import JobRecordAdmin
from gearmanny.contrib.django.models import JobRecord, JobSchedule
from gearmanny.contrib.django.scheduleadmin import JobScheduleAdmin

office = admin.AdminSite(name="office")
office.register(JobRecord, JobRecordAdmin)

schedules = admin.AdminSite(name="schedules")
schedules.register(JobSchedule, JobScheduleAdmin)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("office/", office.urls),
    path("schedules/", schedules.urls),
]
