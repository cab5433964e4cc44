"""Programs that run on the hosts, inside an engine image: standard library and what every engine image holds."""
