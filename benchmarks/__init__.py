"""Measurements of the cost of a turn, in this client and in others."""
