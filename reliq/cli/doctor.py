"""`reliq doctor`."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import click

from reliq.cli.failure import ERROR, Silent
from reliq.cli.show import document, table
from reliq.cli.target import Target, common_options, json_option, pass_target
from reliq.errors import AppNotFound, BrokerError, ReliqError

DISTRIBUTION, OTHERS = "reliq-queue", "reliq"
_MIN_FREE = 200 * 1024 * 1024


class Finding(NamedTuple):
    """One thing looked at."""

    verdict: Literal["ok", "warn", "bad"]
    what: str
    found: str


@click.command()
@common_options
@json_option
@pass_target
def command(target: Target) -> None:
    """Look for what is wrong: the installation, this machine and, with -A or --broker, the app and its broker.

    Exit code 1 when something is bad.
    """
    findings = list(examine(target))
    if target.json:
        document([finding._asdict() for finding in findings])
    else:
        table(("", "looked at", "found"), findings)
        bad = sum(finding.verdict == "bad" for finding in findings)
        warned = sum(finding.verdict == "warn" for finding in findings)
        click.echo()
        click.secho(
            f"{bad} bad, {warned} to look at." if bad or warned else "All is well.",
            fg="red" if bad else None,
            bold=True,
        )
    if any(finding.verdict == "bad" for finding in findings):
        raise Silent(ERROR)


def examine(target: Target) -> Iterator[Finding]:
    """Every check in order; one that breaks is a finding itself."""
    checks: list[Callable[[], Iterator[Finding]]] = [_python, _distribution, _shadow, _user, _clock]
    if target.named_app is not None and target.url is None:
        checks.append(lambda: _app(target))
    if target.named_app is not None or target.url is not None or "RELIQ_BROKER" in os.environ:
        checks.append(lambda: _broker(target))
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # a doctor who faints helps nobody
            known = isinstance(error, ReliqError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            what = (
                "broker"
                if isinstance(error, BrokerError)
                else "app"
                if isinstance(error, AppNotFound)
                else "check"
            )
            yield Finding("bad", what, text.partition("\n")[0])
            if what == "app":
                return  # what comes next would only say so again


def _python() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.system()}, {sys.executable}")
    old = sqlite3.sqlite_version_info < (3, 35, 0)
    yield Finding(
        "bad" if old else "ok",
        "sqlite",
        f"{sqlite3.sqlite_version}{' (3.35 or newer is needed)' if old else ''}",
    )


def _distribution() -> Iterator[Finding]:
    ours = _version(DISTRIBUTION)
    if _version(OTHERS) is not None:
        yield Finding(
            "bad",
            "distribution",
            f"`{OTHERS}` {_version(OTHERS)} is installed; that is another project and writes into the same folder: "
            f"pip uninstall {OTHERS} && pip install --force-reinstall {DISTRIBUTION}",
        )
    elif ours is None:
        yield Finding(
            "warn", "distribution", f"{DISTRIBUTION} is not installed: plug-ins and engines are not found"
        )
    else:
        import reliq

        yield Finding("ok", "distribution", f"{DISTRIBUTION} {ours} in {Path(reliq.__file__).parent}")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _shadow() -> Iterator[Finding]:
    here = Path.cwd()
    for name in ("reliq.py", "click.py", "msgspec.py"):
        if (here / name).exists():
            yield Finding(
                "bad", "folder", f"{here / name} hides the module of that name from the workers; rename it"
            )


def _user() -> Iterator[Finding]:
    if hasattr(os, "geteuid"):
        root = os.geteuid() == 0
        yield Finding(
            "warn" if root else "ok", "user", "root: so are the tasks" if root else f"uid {os.geteuid()}"
        )


def _clock() -> Iterator[Finding]:
    import reliq

    now, installed = time.time(), Path(reliq.__file__).stat().st_mtime
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < installed - 86_400:
        yield Finding("bad", "clock", f"{text}, which is before reliq was installed here")
    else:
        yield Finding("ok", "clock", text)


def _app(target: Target) -> Iterator[Finding]:
    app = target.app
    yield Finding("ok" if app.tasks else "warn", "app", f"{app.name}: {len(app.tasks)} tasks")
    for task in app.tasks.values():
        task.chain  # noqa: B018 - a wrong order raises
    complaints = [(m.name, complaint) for m in app.all_middleware for complaint in m.checks()]
    for name, complaint in complaints:
        yield Finding("warn", f"middleware {name}", complaint)
    if not complaints:
        names = " > ".join(m.name for m in app.middleware)
        yield Finding("ok", "middleware", names or "none for the whole app")


def _broker(target: Target) -> Iterator[Finding]:
    began = time.perf_counter()
    engine = target.engine
    books = engine.audit()
    took = (time.perf_counter() - began) * 1000
    yield Finding("ok", "broker", f"{engine.url} answers ({took:.0f} ms)")
    durability = engine.capabilities.durability
    kept = engine.capabilities.shared and not durability.startswith("none")
    yield Finding("ok" if kept else "warn", "durability", durability)
    yield from _disk(engine.url)
    if books.balanced:
        yield Finding("ok", "books", f"{books.accepted:,} accepted, all accounted for")
    else:
        yield Finding("bad", "books", f"they do not balance: reliq audit{target.flags}")
    now = time.time_ns() // 1_000_000
    owners = engine.owners()
    late = [owner.owner for owner in owners if owner.expires < now]
    if late:
        yield Finding("warn", "workers", f"{len(late)} of {len(owners)} are silent: {', '.join(late[:3])}")
    else:
        yield Finding("ok", "workers", f"{len(owners)} worker processes")


def _disk(url: str) -> Iterator[Finding]:
    scheme, _, rest = url.partition(":///")
    path = Path(rest.partition("?")[0])
    if scheme != "sqlite" or not path.exists():
        return
    import shutil

    free = shutil.disk_usage(path).free
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    verdict: Literal["ok", "bad"] = "ok" if free > _MIN_FREE else "bad"
    yield Finding(verdict, "disk", f"{path}: {size / 1e6:,.1f} MB, {free / 1e9:,.1f} GB free")
