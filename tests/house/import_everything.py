"""Import every module of the installed distribution; what needs an extra may say so, everything else must import.

Run in an environment without extras (`nox -s wheel`); not a pytest file, for there is no pytest there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import files
from pathlib import PurePosixPath

# Package or module -> the top-level names whose absence it may complain about.
NEEDS = {
    "reliq.testing": {"hypothesis", "psutil", "pytest", "_pytest", "tenacity"},
    "reliq.engines.redis": {"redis"},
    "reliq.brokers.kombu": {"kombu"},
    "reliq.stores.sqlalchemy": {"sqlalchemy"},
    "reliq_idempotency.django": {"django"},
    "reliq_idempotency.sqlalchemy": {"sqlalchemy"},
    "reliq_otel": {"opentelemetry"},
    "reliq_sentry": {"sentry_sdk"},
    "reliq_rdb": {"sqlalchemy"},
    "reliq_django": {"django"},
}


def modules() -> Iterator[str]:
    for path in sorted(files("reliq-queue") or (), key=str):
        parts = PurePosixPath(path).with_suffix("").parts
        if path.suffix != ".py" or parts[-1] == "__main__":
            continue
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def allowed(module: str) -> set[str]:
    return set().union(*(names for prefix, names in NEEDS.items() if f"{module}.".startswith(f"{prefix}.")))


def main() -> int:
    imported, waiting, broken = 0, [], []
    for module in modules():
        try:
            import_module(module)
        except ImportError as error:
            missing = (error.name or "").partition(".")[0]
            cause = f"{module}: {type(error).__name__}: {error}"
            is_expected = missing in allowed(module) or ("reliq-queue[" in str(error) and allowed(module))
            (waiting if is_expected else broken).append(cause)
        except Exception as error:
            broken.append(f"{module}: {type(error).__name__}: {error}")
        else:
            imported += 1
    print(f"{imported} modules imported, {len(waiting)} wait for an extra, {len(broken)} broken")
    print(*(f"  waits   {line}" for line in waiting), *(f"  BROKEN  {line}" for line in broken), sep="\n")
    return 1 if broken or not imported else 0


if __name__ == "__main__":
    sys.exit(main())
