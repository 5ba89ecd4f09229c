"""The commands of `gearmanny`, and those that `manage.py gearmanny` shares with it."""
