"""A project whose admin site a browser looks at."""
