"""What else a host could serve, and how: every layout, draft, cache and modality that fits, beside each other."""
