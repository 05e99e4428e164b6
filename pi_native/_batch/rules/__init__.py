"""The decisions of a batch: pace, retries and budget. Pure: no clock, no thread, no I/O."""
