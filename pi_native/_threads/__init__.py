"""Concurrency that knows neither HTTP nor language models."""
