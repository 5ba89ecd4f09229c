"""Payloads: failures, names, sizes, encoded values; and checks of numbers. Pure."""
