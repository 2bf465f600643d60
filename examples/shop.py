# example: shop.py
from reliq import Drop, Reliq
from reliq_once import QueueOnce

app = Reliq("shop", broker="sqlite:///shop.db")


@app.task(base=QueueOnce, once={"keys": ["customer"], "graceful": True})
def rebuild(customer: int, why: str) -> None:
    """At most one of these waits or runs for each customer."""


@app.task(queue="pay", retry_on=(TimeoutError,), max_retries=8, time_limit=60)
def charge(order: int, cents: int) -> str:
    if cents == 0:
        raise Drop("nothing to pay")
    return f"order {order}: {cents / 100:.2f} paid"


if __name__ == "__main__":
    rebuild.delay(7, "import")
    print(rebuild.delay(7, "the second one is refused").state)  # REJECTED

    charge.delay(1, 500)  # arguments are checked against the signature, here and by a type checker
    later = charge.using(countdown=30, priority=9).delay(2, 250)
    print(later.why())
