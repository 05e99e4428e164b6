"""Tools and structured output: types as JSON Schemas, and arguments as values of these types."""
