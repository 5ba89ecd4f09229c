"""The addresses of the app, and those of the admin site, which has the explorer."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("", include("corpus.urls"))]
