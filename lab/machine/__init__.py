"""The machine that the lab runs on: its packages, its Docker Engine, and what the lab changes of it and takes back."""
