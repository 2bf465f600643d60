"""A small app in a fresh folder, the command line in this process, and a worker of a few lines."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from reliq.cli.main import main
from reliq.engines.memory import MemoryEngine, connect

SHOP = '''
from reliq import Drop, Fail, Reliq, Snooze

app = Reliq("shop", broker="memory://{name}")

@app.task
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b

@app.task(queue="pay", retry_on=(ConnectionError,), max_retries=1, soft_time_limit=2, backoff=None)
def pay(how: str) -> str:
    if how == "fail":
        raise KeyError("card")
    if how == "retry":
        raise ConnectionError("refused")
    if how == "drop":
        raise Drop("not wanted")
    return how
'''


def _runner() -> click.testing.CliRunner:
    apart: dict[str, Any] = {"mix_stderr": False}  # since click 8.2 they are, and the option is gone
    known = "mix_stderr" in inspect.signature(click.testing.CliRunner).parameters
    return click.testing.CliRunner(**(apart if known else {}))


class Shop:
    """The app `shop` of this test's folder, its broker, and `reliq -A shop ...`."""

    def __init__(self, name: str) -> None:
        self.url = f"memory://{name}"
        self.engine: MemoryEngine = connect(self.url)  # keeps the named memory alive between commands
        self._owners = 0

    def run(self, *args: str, code: int = 0, input: str | None = None) -> click.testing.Result:
        """A command; its exit code must be `code`."""
        result = _runner().invoke(main, list(args), input=input)
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self.run(*args, "--json", code=code).stdout)

    def call(self, *args: str) -> str:
        """Publish with `reliq call`; the id."""
        return str(self.json("call", "-A", "shop", *args)["id"])

    def claim(self, queue: str = "default") -> Any:
        self._owners += 1
        owner = f"w{self._owners}"
        self.engine.register(owner, 30)
        return self.engine.claim(owner, [queue], limit=10, seq=1).deliveries

    def work(self, queue: str = "default") -> None:
        """Run what is ready."""
        from reliq.ports.values import Settlement
        from reliq.worker.runner import Runner

        runner = Runner(sys.modules["shop"].app)
        for delivery in self.claim(queue):
            job = runner.open(delivery)
            settlement = job if isinstance(job, Settlement) else runner.run(job)
            assert self.engine.settle([settlement])[0].status == "applied"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Shop]:
    monkeypatch.chdir(tmp_path)
    for variable in ("RELIQ_APP", "RELIQ_BROKER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    name = tmp_path.name
    (tmp_path / "shop.py").write_text(SHOP.format(name=name))
    yield Shop(name)
    for module in set(sys.modules) - before:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(
            sys.modules[module].__file__
        ):
            del sys.modules[module]


Writer = Callable[..., None]
