"""What Celery's Signature has, as part of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from reliq.compat.names import Name, refuse
from reliq.errors import OptionError

if TYPE_CHECKING:
    from reliq.results import Handle
    from reliq.tasks import Signature

_FLOW = "workflows are planned"

# fmt: off
SIGNATURE_NAMES: dict[str, Name] = {
    "task": Name("works", text="the task itself; its name is `task.name`"),
    "type": Name("works", text="the task itself"),
    "name": Name("works"),
    "args": Name("works"),
    "kwargs": Name("works"),
    "options": Name("works", text="checked, and as a message carries them"),
    "immutable": Name("works"),
    "delay": Name("works", text="args are put before, kwargs over those of the signature"),
    "apply_async": Name("works", text="args are put before, kwargs and options over those of the signature"),
    "apply": Name("works", text="as task.apply(), without options"),
    "clone": Name("works", text="args are put before, kwargs and options over those of the signature"),
    "set": Name("works", text="gives another signature; this one does not change"),
    "link": Name("use", text="use set(link=other.s())"),
    "link_error": Name("use", text="use set(link_error=other.s())"),
    "on_error": Name("use", text="use set(link_error=other.s())"),
    "set_immutable": Name("use", text="use task.si()"),
    "id": Name("use", text="use set(task_id=...)"),
    "replace": Name("use", text="use clone(), or task.s() with the other arguments"),
    "freeze": Name("not_yet", text=_FLOW),
    "flatten_links": Name("not_yet", text=_FLOW),
    "chord_size": Name("not_yet", text=_FLOW),
    "stamp": Name("not_yet", text="stamps are planned; use set(headers=...)"),
    "stamp_links": Name("not_yet", text="stamps are planned; use set(headers=...)"),
    "subtask_type": Name("not_yet", text=_FLOW),
    "election": Name("not_yet", text=_FLOW),
}
# fmt: on


@refuse(SIGNATURE_NAMES)
class SignatureNames:
    """Celery's names of what can be done with a call that is not made yet."""

    __slots__ = ()
    _spoken = "signature"

    @property
    def type(self) -> Any:
        return _signature(self).task

    @property
    def name(self) -> str:
        return _signature(self).task.name

    def clone(self, args: Any = (), kwargs: Any = None, **options: Any) -> Signature:
        """The same call with more: `args` before its own, `kwargs` and options over its own."""
        mine = _signature(self)
        if mine.immutable and (args or kwargs):
            raise OptionError(
                f"{self!r} is immutable: it takes no more arguments; make it with s() and not si()"
            )
        made = type(mine)(
            mine.task,
            (*args, *mine.args),
            {**mine.kwargs, **(kwargs or {})},
            immutable=mine.immutable,
            options=mine.options,
        )
        return made.set(**options) if options else made

    def apply_async(self, args: Any = (), kwargs: Any = None, **options: Any) -> Handle[Any]:
        """Make the call, with more arguments or options."""
        return self.clone(args, kwargs, **options).delay()

    def apply(self, args: Any = (), kwargs: Any = None) -> Any:
        """Run it here and now."""
        made = self.clone(args, kwargs)
        return made.task.apply(made.args, made.kwargs)

    def __or__(self, other: object) -> Any:
        raise OptionError(
            f"{self!r} | {other!r}: {_FLOW}; use apply_async(link=other.s()), which calls `other` with the result"
        )


def _signature(names: SignatureNames) -> Signature:
    return cast("Signature", names)
