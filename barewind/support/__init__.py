"""`barewind support-bundle`: what somebody needs who is to find a fault from afar, without secrets."""
