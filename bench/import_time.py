"""What it costs to start: `import gemel` and `gemel --help`, beside a bare Python."""

from __future__ import annotations

import subprocess
import sys

from bench.harness import Bench

ROUNDS = 7


def main() -> None:
    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    work = {
        "python": lambda: run("-c", "pass"),
        "import": lambda: run("-c", "import gemel"),
        "values": lambda: run("-c", "import gemel; gemel.Signal"),
        "help": lambda: run("-c", "import sys; sys.argv = ['gemel', '--help']; from gemel.cli import main; main()"),
    }
    with Bench("import_time") as bench:
        seconds = bench.rounds(ROUNDS, work)
        bare = ("bare python", seconds["python"])
        bench.figure("import_gemel", seconds["import"], "s", goal="<= 0.5", peer=bare)
        bench.figure("import_gemel_and_values", seconds["values"], "s", goal="<= 0.5", peer=bare)
        bench.figure("gemel_help", seconds["help"], "s", goal="<= 0.3", peer=bare)


if __name__ == "__main__":
    main()
