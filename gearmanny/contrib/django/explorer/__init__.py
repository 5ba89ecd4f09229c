"""The explorer: the pages of `gearmanny` in Django's admin site."""
