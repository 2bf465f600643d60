"""Which app and which broker a command is about: `-A`, `--broker`, RELIQ_APP, RELIQ_BROKER."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reliq.errors import BrokerUnavailable

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.ports.broker import Engine

F = TypeVar("F", bound=Callable[..., Any])


class Target:
    """What the common options say; the app is imported and the broker opened when first asked for."""

    def __init__(self) -> None:
        self.spec: str | None = None
        self.url: str | None = None
        self.json = False
        self.traceback = False
        self._app: Reliq | None = None
        self._engine: Engine | None = None

    @property
    def named_app(self) -> str | None:
        """How the app was named, if it was."""
        return self.spec or os.environ.get("RELIQ_APP") or None

    @property
    def flags(self) -> str:
        """The options to repeat in a command that is proposed to the user."""
        app = f" -A {shlex.quote(self.spec)}" if self.spec else ""
        return app + (f" --broker {shlex.quote(self.shown_url)}" if self.url else "")

    @property
    def shown_url(self) -> str:
        from reliq.policy.redaction import redact

        return redact(self.url or "")

    @property
    def app(self) -> Reliq:
        """The app, imported; `AppNotFound` tells why not."""
        if self._app is None:
            from reliq.loader import load_app

            self._app = load_app(self.spec)
            if self.url is not None:
                self._app.conf.override({"broker": self.url}, source="--broker")
        return self._app

    @property
    def engine(self) -> Engine:
        """The broker: of `--broker` without importing an app, else the app's, else that of RELIQ_BROKER."""
        if self._engine is None:
            self._engine = self._open()
        return self._engine

    def _open(self) -> Engine:
        url = self.url or (None if self.named_app else os.environ.get("RELIQ_BROKER"))
        if url is not None:
            from reliq.plugins import open_engine

            _refuse_new_file(url)
            return open_engine(url, app="reliq")
        if self.named_app is None:
            raise click.UsageError(
                "Which broker? Give --broker URL (for example sqlite:///shop.db), or the app with -A shop, "
                "or set RELIQ_BROKER or RELIQ_APP"
            )
        return self.app.broker

    def close(self) -> None:
        if self._engine is not None and (self._app is None or self._engine is not self._app._engine):
            self._engine.close()
        if self._app is not None:
            self._app.close()


def _refuse_new_file(url: str) -> None:
    """Without an app nothing is published, so a database that is not there yet is a misspelt one."""
    scheme, _, rest = url.partition(":///")
    path = Path(rest.partition("?")[0])
    if scheme == "sqlite" and rest and not path.exists():
        raise BrokerUnavailable(
            f"There is no database {path.absolute()}; the worker's banner and `reliq config` name the one in use"
        )


def common_options(command: F) -> F:
    """-A, --broker and --traceback, before or after the subcommand; the last one given counts."""
    command = click.option(
        "--traceback", is_flag=True, help="Show the whole traceback of an error.", **_keep("traceback")
    )(command)
    command = click.option(
        "-b", "--broker", "url", metavar="URL", help="The broker, over the app's setting.", **_keep("url")
    )(command)
    return click.option(
        "-A", "--app", "spec", metavar="APP", help="The app: shop, shop.jobs:app or shop.py.", **_keep("spec")
    )(command)


def json_option(command: F) -> F:
    """--json, for commands that show data."""
    return click.option("--json", is_flag=True, help="One JSON document.", **_keep("json"))(command)


def _keep(name: str) -> dict[str, Any]:
    def keep(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Target), name, value)

    return {"callback": keep, "expose_value": False}


pass_target = click.make_pass_decorator(Target, ensure=True)
