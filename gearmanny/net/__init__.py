"""A blocking connection to a job server, and what it takes to make one."""
