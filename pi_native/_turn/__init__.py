"""One turn, from the call to its single outcome."""
