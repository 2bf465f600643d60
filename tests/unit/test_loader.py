"""What `-A` finds, and what it says when it finds nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reliq.errors import AppNotFound
from reliq.loader import load_app

APP = "from reliq.app import Reliq\napp = Reliq('shop', broker='memory://')\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write files into a fresh current directory; what they import is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELIQ_APP", raising=False)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent != tmp_path:
                (path.parent / "__init__.py").touch()
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("files", "spec"),
    [
        ({"shop": APP}, "shop"),
        ({"shop": APP}, "shop:app"),
        ({"shop": APP}, "shop.py"),
        ({"shop": APP}, "./shop.py:app"),
        ({"shop": APP.replace("app =", "queue =")}, "shop"),
        ({"shop": APP + "other = app\n"}, "shop"),
        ({"proj__reliq": APP}, "proj"),
        ({"proj__tasks": APP}, "proj"),
        ({"proj__tasks": APP.replace("app =", "queue =")}, "proj"),
        ({"proj__app": APP}, "proj.app"),
        ({"proj__deep": APP}, "proj/deep.py"),
        (
            {"proj__deep": "class Site:\n    from reliq.app import Reliq\n    app = Reliq('shop')\n"},
            "proj.deep:Site.app",
        ),
    ],
)
def test_an_app_is_found(project: Callable[..., None], files: dict[str, str], spec: str) -> None:
    project(**files)
    assert load_app(spec).name == "shop"


def test_the_environment_names_the_app(project: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    project(shop=APP)
    monkeypatch.setenv("RELIQ_APP", "shop")
    assert load_app().name == "shop"


def test_the_modules_named_by_imports_are_loaded(project: Callable[..., None]) -> None:
    project(
        shop=APP + "app.conf.imports = 'mail'\n", mail="from shop import app\n@app.task\ndef send(): ...\n"
    )
    assert "mail.send" in load_app("shop").tasks


@pytest.mark.parametrize(
    ("files", "spec", "said"),
    [
        ({"shop": APP}, None, "shop.py here has one: -A shop"),
        ({}, None, "`reliq init shop` writes one"),
        ({"shop": APP}, "shpo", "there is no module 'shpo'; did you mean -A shop?"),
        ({"shop": APP}, "zzz", "there are shop"),
        ({"shop": APP}, "shpo.py", "did you mean shop.py?"),
        ({"shop": APP}, "shop:ap", "has no 'ap'; found `app`: -A shop:app"),
        (
            {"shop": APP + "def make(): ...\n"},
            "shop:make",
            "is a function, not a Reliq instance; found `app`",
        ),
        ({"shop": APP + "b = Reliq('b')\na = Reliq('a')\ndel app\n"}, "shop", "several apps, shop:a, shop:b"),
        (
            {"shop": "x = 1\n"},
            "shop",
            "has no Reliq instance; tried shop:app, shop.reliq:app, shop.tasks:app",
        ),
        ({"proj__jobs": APP}, "proj", "jobs.py beside it seems to have one: -A proj.jobs"),
        (
            {"shop": "import sys\n\ndef go():\n    1 / 0\n\ngo()\n"},
            "shop",
            "ZeroDivisionError: division by zero",
        ),
        ({"shop": "import nothere\n"}, "shop", "ModuleNotFoundError: No module named 'nothere'"),
        ({"shop": "raise SystemExit(3)\n"}, "shop", "SystemExit: 3"),
        ({"shop": "def (\n"}, "shop", "SyntaxError"),
        ({"shop": APP}, "shop-1", "'shop-1' is no module name"),
        ({"shop": APP + "app.conf.imports = 'nothere'\n"}, "shop", "importing 'nothere' failed"),
    ],
)
def test_a_refusal_names_what_to_do(
    project: Callable[..., None], files: dict[str, str], spec: str | None, said: str
) -> None:
    project(**files)
    with pytest.raises(AppNotFound) as caught:
        load_app(spec)
    assert said in str(caught.value)
    assert caught.value.__dict__["spec"] == spec


def test_a_refusal_of_ours_in_the_module_shows_the_users_line_alone(project: Callable[..., None]) -> None:
    project(shop="from reliq.app import Reliq\n\napp = Reliq('shop', leese=3)\n")
    with pytest.raises(AppNotFound) as caught:
        load_app("shop")
    assert 'shop.py", line 3' in str(caught.value)
    assert "did you mean 'lease'" in str(caught.value)
    assert "config.py" not in str(caught.value)


def test_a_module_to_import_that_is_not_there_shows_no_line_of_ours(project: Callable[..., None]) -> None:
    project(shop=APP + "app.conf.imports = 'nothere'\n")
    with pytest.raises(AppNotFound) as caught:
        load_app("shop")
    assert "No module named 'nothere'" in str(caught.value)
    assert "app.py" not in str(caught.value) and 'File "' not in str(caught.value)


def test_a_failed_import_shows_the_users_lines_and_not_ours(project: Callable[..., None]) -> None:
    project(shop="def go():\n    1 / 0\n\ngo()\n")
    with pytest.raises(AppNotFound) as caught:
        load_app("shop")
    assert 'shop.py", line 4' in str(caught.value)
    assert "loader.py" not in str(caught.value)
    assert "importlib" not in str(caught.value)
