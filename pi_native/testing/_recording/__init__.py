"""Recordings of a client's exchanges with a gateway, and their replay."""
