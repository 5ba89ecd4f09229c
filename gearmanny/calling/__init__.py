"""What a call is, whoever waits for its answer. No I/O."""
