"""The law of one step of an engine, and what follows from it for a number of requests. docs/estimate.md has its errors."""
