"""An app of Django's with a task, for `benchmarks.tasks`."""
