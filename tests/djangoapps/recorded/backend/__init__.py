"""A database in which records cannot be kept, as Django sees MySQL or Oracle."""
