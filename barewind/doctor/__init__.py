"""Whether the controller, and the way to each host, are as a deploy needs them (`barewind doctor`)."""
