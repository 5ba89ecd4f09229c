"""Recorded jobs go from the database to job servers, and back when they get lost."""
