"""What a Redis user must be allowed so that one application can work, and nothing beyond."""

from __future__ import annotations

COMMANDS = (
    "+@connection +@hash +@list +@set +@sortedset +eval +evalsha +exists +del +get +set +expire"
    " +publish +subscribe +time +info +wait +config|get"
)


def limited_to(app: str) -> str:
    """ACL rules for the keys and channels of one application alone."""
    return f"resetkeys resetchannels ~{{reliq:{app}}}:* &{{reliq:{app}}}:* -@all {COMMANDS}"
