"""Long runs with faults: `make chaos`, or `python -m chaos.<module>` for one of them."""
