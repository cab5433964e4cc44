"""`python -m lab`: the same as `barewind lab`."""

from lab.cli import lab

if __name__ == "__main__":
    lab(prog_name="barewind lab")
