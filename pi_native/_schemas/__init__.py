"""Types as JSON Schemas, and arguments as values of these types."""
