"""The protocol's objects as attrs classes; no parsing, no I/O."""
