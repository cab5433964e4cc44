"""What runs on the host `services`, and the clients that the lab and its tests use."""
