"""A project whose background jobs are recorded."""
