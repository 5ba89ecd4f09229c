"""The app: surveys of Python source, made by workers and shown on one page."""
