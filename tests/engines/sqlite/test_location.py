"""Which file a URL means, and which places are refused, with the reason."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from reliq.engines.sqlite import connect, location
from reliq.engines.sqlite.location import Location, file_system, locate, prepare
from reliq.errors import BrokerRefused, ConfigError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///rel.db", "{cwd}/rel.db"),
        ("sqlite:///a/b.db", "{cwd}/a/b.db"),
        ("sqlite:////abs/x.db", "/abs/x.db"),
        ("sqlite:////abs/a%20b%3F.db", "/abs/a b?.db"),
    ],
)
def test_a_url_names_a_relative_or_an_absolute_path(url: str, path: str) -> None:
    assert str(locate(url, app="shop").path) == path.format(cwd=os.getcwd())


def test_a_url_without_a_path_is_the_file_of_the_app_in_the_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    engine = connect("sqlite://", app="shop")
    try:
        assert engine.url == f"sqlite:///{tmp_path}/state/reliq/shop.db"
        assert (tmp_path / "state/reliq").stat().st_mode & 0o077 == 0
    finally:
        engine.close()


def test_without_xdg_state_home_it_is_below_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("sqlite://", app="a/b").path == tmp_path / ".local/state/reliq/a%2Fb.db"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://rel.db", "sqlite:///rel.db"),
        ("sqlite:///a.db?durabilty=full", "did you mean 'durability'"),
        ("sqlite:///a.db?durability=most", "off, normal, full"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:////data/shop#2.db", "%23"),
    ],
)
def test_a_wrong_url_is_refused_with_the_right_one(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        locate(url, app="shop")


def test_the_url_of_an_engine_leads_to_the_same_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a%20b%23.db?durability=full&allow_network_fs=1"
    engine = connect(url)
    try:
        assert locate(engine.url, app="x") == locate(url, app="x")
    finally:
        engine.close()


@pytest.mark.parametrize(("word", "level"), [("off", 0), ("normal", 1), ("full", 2)])
def test_the_durability_is_set_and_said_in_words(tmp_path: Path, word: str, level: int) -> None:
    engine = connect(f"sqlite:///{tmp_path}/a.db?durability={word}")
    try:
        assert engine._link.read(lambda execute: execute("PRAGMA synchronous").fetchone()) == (level,)
        assert engine._link.read(lambda execute: execute("PRAGMA journal_mode").fetchone()) == ("wal",)
        assert engine.capabilities.durability == location.WORDS[word]
    finally:
        engine.close()


def test_a_missing_folder_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(BrokerRefused, match=f"mkdir -p {tmp_path}/none"):
        connect(f"sqlite:///{tmp_path}/none/a.db")


def test_a_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerRefused, match="is a folder"):
        connect(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_cannot_be_written_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    # Root may write everywhere, so the answer of the system is given here.
    (tmp_path / "a.db").touch()
    closed = tmp_path if what == "folder" else tmp_path / "a.db"
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and real(path, mode))
    with pytest.raises(BrokerRefused, match="cannot be"):
        connect(f"sqlite:///{tmp_path}/a.db")


def test_a_network_file_system_is_refused_unless_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(location, "file_system", lambda folder: "nfs4")
    with pytest.raises(BrokerRefused, match=r"nfs4.*allow_network_fs=1"):
        connect(f"sqlite:///{tmp_path}/a.db")
    connect(f"sqlite:///{tmp_path}/a.db?allow_network_fs=1").close()


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nserver:/x /mnt/a\\040b nfs4 rw 0 0\ntmpfs /mnt/a\\040b/c tmpfs rw 0 0\nbroken\n"
    )
    assert file_system(Path("/mnt/a b/x"), str(mounts)) == "nfs4"
    assert file_system(Path("/mnt/a b/c/d"), str(mounts)) == "tmpfs"
    assert file_system(Path("/mnt/a bc"), str(mounts)) == "ext4"
    assert file_system(Path("/"), str(tmp_path / "none")) == ""


def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(BrokerRefused, match="too old"):
        prepare(Location(tmp_path / "a.db"))
