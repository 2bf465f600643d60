"""Keep passwords out of whatever is printed."""

from __future__ import annotations

import re

# What follows `user:` is a password unless it reads as a port.  It may hold a raw `/` or `@`, so the match runs to the
# last `@` of the word: printing too little of a URL is harmless, printing too much is not.
_USERINFO = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.\-]*://[^\s:/@\"']*):(?!\d+(?:[/?#,]|$|\s))[^\s\"'<>]*@")
_PARAMETER = re.compile(r"([?&;](?:\w*password|passwd|token|secret|api_?key)=)[^&;\s\"']+", re.IGNORECASE)

HIDDEN = "***"


def redact(text: str) -> str:
    """The text with the passwords of all URLs in it hidden; a URL without one is unchanged."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1:{HIDDEN}@", text))
