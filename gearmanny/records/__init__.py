"""Records of background jobs, in a database."""
