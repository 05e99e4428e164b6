"""Bytes and JSON to objects and back: no socket, no thread, no clock."""
