"""The life of a job in a worker."""
