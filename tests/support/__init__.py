"""Helpers of the tests: one for each idea."""
