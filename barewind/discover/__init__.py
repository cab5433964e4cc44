"""`barewind discover`: an inventory and group data from what is on hosts. Hosts are read, never changed."""
