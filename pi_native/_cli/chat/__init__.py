"""`chat`: one conversation in a terminal, with tools from a file."""
