"""A project with Django's tasks."""
