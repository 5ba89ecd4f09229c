"""Calls that threads wait for."""
