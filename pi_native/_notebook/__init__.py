"""A message or a stream in Jupyter."""
