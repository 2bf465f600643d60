"""One module per side, run in the side's own environment: its tasks, and how it sends them in the fastest way it has.

    send(name, args, *, delay=None, queue=None)   one message; may be a coroutine function
    send_many(name, calls, *, queue=None)          in the fastest way it has to publish many; likewise
    BULK                                           what that way is

Only `reliq_app` may import reliq: in the other environments it is not installed.
"""
