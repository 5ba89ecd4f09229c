"""SQLite under another name, and without what it can do more than others."""

from django.db.backends.sqlite3 import base, features


class DatabaseFeatures(features.DatabaseFeatures):
    supports_partial_indexes = False


class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "another"
    display_name = "Another"
    features_class = DatabaseFeatures
