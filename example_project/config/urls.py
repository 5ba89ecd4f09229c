"""All addresses of the site are those of the app."""

from django.urls import include, path

urlpatterns = [path("", include("corpus.urls"))]
