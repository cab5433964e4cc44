"""Progress of transfers: how far they are, and what a person sees of them."""
