"""`reliq config [SETTING]`."""

from __future__ import annotations

import click

from reliq.cli.failure import nothing_found
from reliq.cli.show import document, table
from reliq.cli.target import Target, common_options, json_option, pass_target
from reliq.config import Config
from reliq.errors import UnknownSetting


@click.command()
@click.argument("setting", required=False)
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@common_options
@json_option
@pass_target
def command(target: Target, setting: str | None, changed: bool) -> None:
    """Show every setting, its value and where the value came from.

    Without an app: the defaults and RELIQ_* of the environment.
    """
    conf = _config(target)
    rows = [
        (name, value, source) for name, value, source in conf.items() if not changed or source != "default"
    ]
    if setting is not None:
        try:
            conf.source(setting)
        except UnknownSetting as error:
            raise nothing_found(str(error).replace(" (from config.source())", "")) from None
        rows = [row for row in conf.items() if row[0] == setting]
    if target.json:
        document([{"setting": n, "value": _plain(v), "source": s, "doc": conf.doc(n)} for n, v, s in rows])
    elif setting is not None:
        for name, value, source in rows:
            click.echo(f"{name} = {_text(value)}   from: {source}")
            click.echo(f"  {conf.doc(name)}")
    elif rows:
        table(("setting", "value", "source"), [(name, _text(value), source) for name, value, source in rows])
    else:
        click.echo("Everything is at its default.")


def _config(target: Target) -> Config:
    if target.named_app is not None:
        return target.app.conf
    conf = Config()
    if target.url is not None:
        conf.override({"broker": target.url}, source="--broker")
    return conf


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return _named(value)


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(_text(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} -> {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else _named(value)


def _named(value: object) -> str:
    if isinstance(value, type):
        return value.__qualname__
    return value if isinstance(value, str) else str(getattr(value, "name", None) or value)
