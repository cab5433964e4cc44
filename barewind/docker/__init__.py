"""Docker Engine on a host: where it comes from, its settings, what is there."""
