"""How a fleet is at this moment: one command per host, and rows with findings from their answers."""
