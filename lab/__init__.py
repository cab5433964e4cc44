"""A lab of real hosts on one machine, for demos and end-to-end tests."""
