"""One target under atheris, which looks for inputs that reach new code: ``python -m tests.fuzz`` starts this.

python -m tests.fuzz.coverage_guided TARGET [arguments of libFuzzer]
"""

from __future__ import annotations

import shlex
import sys
from random import Random

import atheris

# Only what is imported in here is watched, and only our own code is worth it.
with atheris.instrument_imports(include=["meshsync", "simulator"]):
    from tests.fuzz.corpus import PACKED, corpus, mutant_of_parts
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    name = sys.argv.pop(1)
    seeds = corpus(name)

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        """Change an input of parts part by part half of the time."""
        chance = Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, size))
        return mutant_of_parts(data, seeds, chance)[:size]

    # libFuzzer starts itself again when it merges inputs, by a shell.
    command = f"{shlex.quote(sys.executable)} -m tests.fuzz.coverage_guided {name}"
    atheris.Setup([command, *sys.argv[1:]], TARGETS[name], **({"custom_mutator": mutate} if name in PACKED else {}))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
