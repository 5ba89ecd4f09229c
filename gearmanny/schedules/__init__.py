"""When jobs are made by themselves: ticks, and what becomes of those that were missed."""
