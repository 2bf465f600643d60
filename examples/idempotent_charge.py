# example: idempotent_charge.py
from reliq import Reliq, current
from reliq.testing import Harness
from reliq_idempotency import Idempotency, IdempotencyMismatch

app = Reliq("pay", middleware=[Idempotency(ttl=86_400)])
charged: list[str] = []


@app.task(idempotency={"keys": ["order_id"]})
def charge(order_id: int, cents: int) -> str:
    charged.append(current().idempotency_key)  # hand it to the provider: a second run is the same request
    return f"charged {cents} for order {order_id}"


if __name__ == "__main__":
    with Harness(app) as harness:
        first = charge.delay(1, 500)
        second = charge.delay(1, 500)  # a double click: the same message
        assert second == first
        harness.run_until_idle()
        later = charge.delay(1, 500)  # a retried request: the stored result
        assert later.get(0) == first.get(0) == "charged 500 for order 1"
        try:
            charge.delay(1, 900)
        except IdempotencyMismatch as error:
            print(error)
        assert len(charged) == 1
