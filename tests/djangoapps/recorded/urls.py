"""Two admin sites."""

from django.contrib import admin
from django.urls import path

from gearmanny.contrib.django.explorer.jobadmin import JobRecordAdmin
from gearmanny.contrib.django.models import JobRecord

office = admin.AdminSite(name="office")
office.register(JobRecord, JobRecordAdmin)

urlpatterns = [path("admin/", admin.site.urls), path("office/", office.urls)]
