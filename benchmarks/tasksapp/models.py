"""What the caller of the task writes."""

from django.db import models


class Row(models.Model):
    """A row."""

    name = models.CharField(max_length=100)

    class Meta:
        app_label = "tasksapp"

    def __str__(self) -> str:
        return self.name
