"""What a host with accelerators gets besides containers: repositories, driver packages, kernel settings, services."""
