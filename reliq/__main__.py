"""`reliq`, and `python -m reliq`."""

from __future__ import annotations

from reliq.cli.main import main
from reliq.worker.leaving import leave


def run() -> None:
    """Run the command line as a program of its own: when it is done, the process ends at once."""
    code = 0
    try:
        main(prog_name="reliq")
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    leave(code)


if __name__ == "__main__":
    run()
