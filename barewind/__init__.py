"""Barewind: from freshly installed GPU servers to a production endpoint."""
