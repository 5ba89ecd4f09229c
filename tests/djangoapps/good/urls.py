"""The page that says whether jobs can run."""

from django.urls import include, path

urlpatterns = [path("health", include("gearmanny.contrib.django.health"))]
