"""Fuzzing of each layer that reads the bytes of a gateway."""
