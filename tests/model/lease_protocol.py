"""The lease protocol as a small transition system, and a search through all its interleavings.

Two messages, two workers of which one may be started anew, three leases in all.  At any moment a worker may claim (also
while it holds something), settle, renew or crash, or do nothing for as long as it takes: that is a pause.  A reply may
be lost, and the worker asks again.  The clock may jump, after which every lease is over; a parent buries its dead
child, a reaper whoever's lease is over.

`Rules` switches single checks of the broker off: the search must find what goes wrong without them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

MESSAGES = (0, 1)
WORKERS = (0, 1)
LIVES = 2
STARTS = 1  # beside the first ones
LEASES = 3
PREFETCH = 2

Owner = tuple[int, int]  # a worker and which of its lives


class Rules(NamedTuple):
    """What the broker sees to."""

    fence: bool = True  # a settlement counts for the lease it names, once
    leased: bool = True  # ... and only while that lease stands
    takes_back: bool = True  # burying makes leased messages ready
    remembers: bool = True  # a claim repeated with the same seq gives the same batch


class Receipt(NamedTuple):
    message: int
    owner: Owner
    fence: int


class Message(NamedTuple):
    state: Literal["ready", "leased", "done"] = "ready"
    owner: Owner | None = None
    fence: int = 0
    settled: int = 0


class Known(NamedTuple):
    """What the broker knows of an owner: its lease, and what it gave it last."""

    lease: Literal["none", "runs", "over", "gone"]
    batch: Receipt | None = None


class Worker(NamedTuple):
    """What a process knows.  `asks`: the reply to its claim was lost."""

    life: int = 0
    up: bool = True
    holds: frozenset[Receipt] = frozenset()
    asks: bool = False


class State(NamedTuple):
    messages: tuple[Message, ...] = (Message(),) * len(MESSAGES)
    owners: tuple[tuple[Known, ...], ...] = ((Known("runs"), Known("none")),) * len(WORKERS)
    workers: tuple[Worker, ...] = (Worker(),) * len(WORKERS)
    starts: int = STARTS
    leases: int = LEASES
    accepted: frozenset[Receipt] = frozenset()  # what the checker remembers: whose settlements were applied
    ended: tuple[int, ...] = (0,) * len(MESSAGES)  # how many terminal verdicts were accepted


Step = tuple[str, State]


class Broken(Exception):
    """A rule does not hold; `trace` leads there."""

    trace: list[str]


class Search(NamedTuple):
    states: int
    answers: Counter[str]


def search(rules: Rules) -> Search:
    """Go through all states, the nearest first; `Broken` with the shortest way to what is wrong."""
    start = State()
    came: dict[State, tuple[State, str] | None] = {start: None}
    answers: Counter[str] = Counter()
    ahead = deque([start])
    while ahead:
        state = reached = ahead.popleft()
        try:
            for label, after in steps(state, rules, answers):
                reached = less_the_past(after)
                if reached not in came:
                    came[reached] = (state, label)
                    check(reached)
                    ahead.append(reached)
                reached = state
        except Broken as broken:
            broken.trace = [*_trace(came, reached), str(broken)]
            raise
    return Search(len(came), answers)


def check(state: State) -> None:
    """What must hold in every state: one terminal verdict at most, and nothing is lost."""
    for number, message in enumerate(state.messages):
        if state.ended[number] > 1:
            raise Broken(f"message {number} has {state.ended[number]} terminal verdicts")
        if (message.state == "done") != (state.ended[number] == 1):
            raise Broken(f"message {number} is {message.state} after {state.ended[number]} terminal verdicts")
        if message.owner is not None:
            _check_lease(state, Receipt(number, message.owner, message.fence))


def _check_lease(state: State, receipt: Receipt) -> None:
    """Somebody works on it, or will ask for it, or it will be taken back."""
    worker = state.workers[receipt.owner[0]]
    if _known(state, receipt.owner).lease == "gone":
        raise Broken(f"message {receipt.message} is lost: its owner is gone, so nobody takes it back")
    if worker.up and worker.life == receipt.owner[1] and not worker.asks and receipt not in worker.holds:
        raise Broken(
            f"message {receipt.message} is lost: the worker it is leased to lives and does not know it"
        )


def steps(state: State, rules: Rules, answers: Counter[str]) -> Iterator[Step]:
    """All that can happen next."""
    for number in WORKERS:
        yield from _process(state, number)
        if state.workers[number].up:
            yield from _claim(state, number, rules)
            yield from _settle(state, number, rules, answers)
            yield from _renew(state, number)
    yield from _bury(state, rules)
    yield from _jump(state)


# --- processes ----------------------------------------------------------------------------------------------------


def _process(state: State, number: int) -> Iterator[Step]:
    worker = state.workers[number]
    if worker.up:
        yield f"worker {number} crashes", _with_worker(state, number, Worker(worker.life, up=False))
    elif state.starts and worker.life + 1 < LIVES:
        after = _with_worker(state, number, Worker(worker.life + 1))._replace(starts=state.starts - 1)
        yield f"worker {number} starts anew", _with_known(after, (number, worker.life + 1), Known("runs"))


# --- calls of the broker ------------------------------------------------------------------------------------------


def _claim(state: State, number: int, rules: Rules) -> Iterator[Step]:
    worker = state.workers[number]
    owner = (number, worker.life)
    known = _known(state, owner)
    if worker.asks:
        batch = _batch(state, known) if rules.remembers else frozenset()
        told = worker._replace(holds=worker.holds | batch, asks=False)
        yield f"worker {number} claims again", _with_worker(state, number, told)
        return
    ready = [index for index in MESSAGES if state.messages[index].state == "ready"]
    if not ready or len(worker.holds) >= PREFETCH or known.lease == "gone" or not state.leases:
        return
    fence = state.messages[ready[0]].fence + 1
    receipt = Receipt(ready[0], owner, fence)
    message = state.messages[ready[0]]._replace(state="leased", owner=owner, fence=fence)
    after = _with_message(state, ready[0], message)._replace(leases=state.leases - 1)
    after = _with_known(after, owner, known._replace(batch=receipt))
    label = f"worker {number} claims message {receipt.message} with fence {fence}"
    yield label, _with_worker(after, number, worker._replace(holds=worker.holds | {receipt}))
    yield f"{label}, the reply is lost", _with_worker(after, number, worker._replace(asks=True))


def _batch(state: State, known: Known) -> frozenset[Receipt]:
    """What of the last batch is still leased by it."""
    receipt = known.batch
    if receipt is None or known.lease == "gone":
        return frozenset()
    message = state.messages[receipt.message]
    return frozenset({receipt} if (message.owner, message.fence) == (receipt.owner, receipt.fence) else ())


def _settle(state: State, number: int, rules: Rules, answers: Counter[str]) -> Iterator[Step]:
    worker = state.workers[number]
    for receipt in worker.holds:
        for verdict in ("done", "retry"):
            answer, after = settle(state, receipt, verdict, rules)
            answers[answer] += 1
            label = f"worker {number} settles message {receipt.message}, fence {receipt.fence}, as {verdict}: {answer}"
            yield label, _with_worker(after, number, worker._replace(holds=worker.holds - {receipt}))
            if answer == "applied":
                yield f"{label}, the reply is lost", after  # it still holds the receipt, and settles again


def settle(state: State, receipt: Receipt, verdict: str, rules: Rules) -> tuple[str, State]:
    """The broker's answer and what it does; whom it must not answer `applied` is for the checker to say."""
    message = state.messages[receipt.message]
    stands = message.state == "leased" and message.owner == receipt.owner
    named = message.fence == receipt.fence and message.settled != receipt.fence
    if not ((stands or not rules.leased) and (named or not rules.fence)):
        repeated = message.settled == receipt.fence
        if not repeated and receipt in state.accepted and message.settled < receipt.fence:
            raise Broken(f"the settlement of message {receipt.message} was applied, and nobody remembers")
        return "repeated" if repeated else "stale", state

    if receipt in state.accepted:
        raise Broken(f"one receipt settles message {receipt.message} twice")
    if (message.owner, message.fence) != (receipt.owner, receipt.fence):
        raise Broken(f"a stale receipt settles message {receipt.message}")
    ends = verdict == "done"
    settled = Message("done" if ends else "ready", None, message.fence, receipt.fence)
    ended = _put(state.ended, receipt.message, state.ended[receipt.message] + ends)
    after = _with_message(state, receipt.message, settled)
    return "applied", after._replace(accepted=state.accepted | {receipt}, ended=ended)


def _renew(state: State, number: int) -> Iterator[Step]:
    owner = (number, state.workers[number].life)
    known = _known(state, owner)
    if known.lease == "over":
        yield f"worker {number} renews", _with_known(state, owner, known._replace(lease="runs"))
    if known.lease == "gone":
        buried = Worker(owner[1], up=False)  # it learns that it is dead, and lets go of all
        yield f"worker {number} finds itself buried", _with_worker(state, number, buried)


def _bury(state: State, rules: Rules) -> Iterator[Step]:
    for number in WORKERS:
        worker = state.workers[number]
        for life, known in enumerate(state.owners[number]):
            is_dead = worker.life > life or (worker.life == life and not worker.up)
            if known.lease == "over" or (known.lease == "runs" and is_dead):
                yield f"worker {number} is buried", _buried(state, (number, life), rules)


def _buried(state: State, owner: Owner, rules: Rules) -> State:
    after = _with_known(state, owner, Known("gone"))
    for index, message in enumerate(state.messages):
        if message.owner == owner and rules.takes_back:
            after = _with_message(after, index, message._replace(state="ready", owner=None))
    return after


def _jump(state: State) -> Iterator[Step]:
    over = tuple(
        tuple(known._replace(lease="over") if known.lease == "runs" else known for known in lives)
        for lives in state.owners
    )
    if over != state.owners:
        yield "the clock jumps", state._replace(owners=over)


# --- a state with one part changed --------------------------------------------------------------------------------


def less_the_past(state: State) -> State:
    """Without what cannot matter any more, so that there are fewer states: batches nobody asks for, receipts let go."""
    held = frozenset(receipt for worker in state.workers for receipt in worker.holds)
    after = state._replace(accepted=state.accepted & held)
    for number, worker in enumerate(state.workers):
        for life, known in enumerate(state.owners[number]):
            if known.batch is not None and not (worker.asks and worker.life == life):
                after = _with_known(after, (number, life), known._replace(batch=None))
    return after


def _known(state: State, owner: Owner) -> Known:
    return state.owners[owner[0]][owner[1]]


def _with_known(state: State, owner: Owner, known: Known) -> State:
    lives = _put(state.owners[owner[0]], owner[1], known)
    return state._replace(owners=_put(state.owners, owner[0], lives))


def _with_worker(state: State, number: int, worker: Worker) -> State:
    return state._replace(workers=_put(state.workers, number, worker))


def _with_message(state: State, index: int, message: Message) -> State:
    return state._replace(messages=_put(state.messages, index, message))


def _put(values: tuple[Any, ...], index: int, value: object) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    labels: list[str] = []
    while (step := came[state]) is not None:
        state, label = step
        labels.append(label)
    return labels[::-1]
