"""Fuzzing: bytes nobody would write, given to each layer that reads what a gateway sends."""
