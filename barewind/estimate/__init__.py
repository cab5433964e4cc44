"""How fast a host will be: a law of one step of an engine, and what follows from it. docs/estimate.md has its errors."""
