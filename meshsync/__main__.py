"""``python -m meshsync``: the command ``meshsync``."""

from meshsync.cli.main import main

if __name__ == "__main__":
    main(prog_name="meshsync")
