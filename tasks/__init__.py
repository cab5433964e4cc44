"""The steps of deploy.py, one file each."""
