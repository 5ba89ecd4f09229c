"""Payloads: encoded values, failures, names and sizes; and checks of numbers. Without I/O."""
