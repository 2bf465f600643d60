# example: once_modes.py
"""Every answer that QueueOnce has to a second call; run it: python examples/once_modes.py"""

from reliq import Reliq
from reliq.testing import Harness
from reliq_once import AlreadyQueued, Once, QueueOnce

app = Reliq("once_modes", broker="memory://")
ran: list[str] = []


@app.task(base=QueueOnce, once={"keys": ["customer"]})
def rebuild(customer: int, why: str) -> None:
    ran.append(f"rebuild {customer} {why}")


@app.task(base=QueueOnce, once=Once(on_conflict="join"))
def total(month: str) -> int:
    ran.append(f"total {month}")
    return 42


@app.task(base=QueueOnce, once={"keys": ["page"], "on_conflict": "replace"})
def render(page: str, text: str) -> None:
    ran.append(f"render {page} {text}")


@app.task(base=QueueOnce, once={"keys": ["user"], "debounce": (10, 60)})
def index(user: int, revision: int) -> None:
    ran.append(f"index {user} {revision}")


@app.task(base=QueueOnce, once={"keys": [], "on_conflict": "rerun"})
def sync(revision: int) -> None:
    ran.append(f"sync {revision}")
    if revision == 1:  # two more calls while the first one runs
        sync.delay(2)
        sync.delay(3)


def main() -> None:
    with Harness(app) as harness:
        rebuild.delay(7, "import")
        try:
            rebuild.delay(7, "again")
        except AlreadyQueued as error:
            print(error)

        job = total.delay("2026-01")
        assert total.delay("2026-01").id == job.id

        for text in ("draft", "final"):
            render.delay("home", text)

        for revision in range(5):
            index.delay(1, revision)
            harness.clock.advance(5)

        sync.delay(1)
        harness.run_until_idle(advance=True)

    print("\n".join(ran))
    assert ran == ["rebuild 7 import", "total 2026-01", "render home final", "sync 1", "sync 3", "index 1 4"]


if __name__ == "__main__":
    main()
