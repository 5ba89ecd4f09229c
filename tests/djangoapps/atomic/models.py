"""A model that an atomic task writes."""

from django.db import models


class Written(models.Model):
    """A row."""

    name = models.TextField()

    class Meta:
        app_label = "atomic"

    def __str__(self) -> str:
        return self.name
