"""Long tests that make trouble and count what is lost. The suite has them in short forms."""
