"""What a turn costs, here and in other clients."""
