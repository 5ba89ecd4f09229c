"""A project whose tasks django-overseer looks after."""
