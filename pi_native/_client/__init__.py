"""The client: one gateway, one key, one pool of connections, and the turns made with them.

Each class adds calls to the one before it: `BaseClient`, `GatewayClient`, `TurnClient`, `Client`.
"""
