"""How long `import condrule` takes, against numpy's import, in fresh processes of the same run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
COMMANDS = {"bare Python": "pass", "condrule": "import condrule", "numpy": "import numpy"}


def main() -> None:
    """Print medians over bare Python, and the ratio."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS + 1):  # in turn, so that a drift of the machine's speed hits all alike
        for name, code in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    bare = medians["bare Python"]
    over = {name: taken - bare for name, taken in medians.items()}
    print(f"bare Python    {bare:.3f} s")
    print(f"import condrule {over['condrule']:.3f} s over it")
    print(f"import numpy    {over['numpy']:.3f} s over it")
    print(f"condrule / numpy = {over['condrule'] / over['numpy']:.2f}")


if __name__ == "__main__":
    main()
