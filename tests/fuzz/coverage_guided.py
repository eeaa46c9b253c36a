"""One target under atheris, which looks for inputs that reach new code: ``python -m tests.fuzz`` starts this.

python -m tests.fuzz.coverage_guided TARGET [arguments of libFuzzer]
"""

from __future__ import annotations

import sys

import atheris

# Only what is imported in here is watched, and only our own code is worth it.
with atheris.instrument_imports(include=["meshsync", "simulator"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
