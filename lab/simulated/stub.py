"""The commands of a simulated host: scripts of a few lines that run a module of this folder."""

LIBRARY = "/usr/local/lib/barewind-lab"  # folder on a host that holds this one, as lab/simulated


def stub(module: str) -> str:
    """Text of a command that runs a module's main(); nothing of the environment reaches Python."""
    return (
        f"#!/usr/bin/python3 -IS\nimport sys\n\nsys.path.insert(0, {LIBRARY!r})\n"
        f"from lab.simulated.{module} import main\n\nsys.exit(main(sys.argv))\n"
    )
