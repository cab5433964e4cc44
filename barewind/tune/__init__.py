"""Better settings of an engine, found by measuring: candidates on one drained replica, and what is proposed after them."""
