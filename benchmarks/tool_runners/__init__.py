"""Compare tool runners: five situations, each run against a fake provider on loopback."""
