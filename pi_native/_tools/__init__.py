"""Tools and structured output: functions that a model calls, and answers as values of types."""
