"""A producer to be killed: publishes until it is, noting what it does.  `python -m tests.faults.producer`"""

from __future__ import annotations

import itertools
import time

from reliq.errors import PublishRefused
from tests.faults.fault_app import journal, work
from tests.faults.rig import publish_noted


def main() -> None:
    for number in itertools.count():
        try:
            publish_noted(journal(), work, (number, 0.01))
        except PublishRefused:
            time.sleep(0.1)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
