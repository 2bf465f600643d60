"""What the demo shows while it runs: a progress bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Display(Protocol):
    """Where the demo's words go."""

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def progress(self, what: str, done: int, total: int) -> None:
        """How far `what` is."""
        ...

    def close(self) -> None: ...


class Terminal:
    """A bar per thing in progress, with the lines that stay above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._progress.start()

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int) -> None:
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._bars[what], completed=done)

    def close(self) -> None:
        self._progress.stop()


class Plain:
    """Lines only; progress is a line whenever another tenth is done."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._tenths: dict[str, int] = {}

    def say(self, text: str) -> None:
        print(text, file=self._output, flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if tenth > self._tenths.get(what, 0):
            self._tenths[what] = tenth
            self.say(f"  {what}: {done:,} of {total:,}")

    def close(self) -> None:
        pass


def open_display(output: TextIO) -> Display:
    console = Console(file=output)
    return Terminal(console) if console.is_terminal else Plain(output)
