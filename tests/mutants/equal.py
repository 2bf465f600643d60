"""Mutants that no test of one engine finds: they do the same, or cost a wake-up; each with its reason."""

from __future__ import annotations

_ALONE = (
    "the owner's o[5] is emptied by its next batch, so whoever holds anything and has one holds just that"
)
_IDLE = "who is told of work for nothing looks and finds none; a wake that is lost on it costs another a second at most"
_HELD = "`held:` has only what is leased to that owner"
_LONGER = "the same bytes behind a longer head"

_CLAIM_ALONE = "claim: local alone = holds and o[5] ~= '' and row(o[5]) -> local alone = "
_CLAIM_DEAF = "claim: deaf = alone and alone[STATE] == IS_LEASED and alone[OWNER] == name -> deaf = "
_CLAIM_IDLES = "claim: if idles and not deaf and ARGV[5] ~= '' then -> if "
_BURY = "lib/bury: if r and r[STATE] == IS_LEASED and r[OWNER] == name then -> if "

EQUAL: dict[str, str] = {
    _CLAIM_ALONE + "holds and row(o[5])": "there is no message ''",
    _CLAIM_ALONE + "o[5] ~= '' and row(o[5])": _ALONE,
    _CLAIM_DEAF + "alone and alone[OWNER] == name": _ALONE,
    _CLAIM_DEAF + "alone and alone[STATE] == IS_LEASED": _ALONE,
    _CLAIM_IDLES + "not deaf and ARGV[5] ~= '' then": _IDLE,
    _CLAIM_IDLES + "idles and ARGV[5] ~= '' then": _IDLE,
    _CLAIM_IDLES + "idles and not deaf then": "nobody listens to the channel ''",
    "claim: elseif ARGV[6] ~= '' then -> elseif false then": _IDLE,
    "claim: elseif ARGV[6] ~= '' then -> elseif not (ARGV[6] ~= '') then": _IDLE,
    "claim: cmsgpack.pack({ settled, o and true or false, next_due, next_due and next_due - now or 0, wants_alone, "
    "idles }), -> cmsgpack.pack({ settled, o and true, next_due, next_due and next_due - now or 0, wants_alone, "
    "idles }),": "an owner that is not there is false already",
    _BURY + "r and r[STATE] == IS_LEASED then": _HELD,
    _BURY + "r[STATE] == IS_LEASED and r[OWNER] == name then": _HELD,
    "lib/effects: return at and true or false -> return at and true": "nothing counts as false",
    "lib/finish: if body:sub(1, 2) ~= '[[' then -> if false then": "such a body is sent as one that takes nothing",
    "lib/finish: for _, on in ipairs(cmsgpack.unpack(read('on_end', id) or '\\144')) do -> "
    "for _, on in ipairs(cmsgpack.unpack(read('on_end', id))) do": "only one that has `on_end` is pending",
    "lib/finish: if n < 256 then -> if false then": _LONGER,
    "lib/finish: if n < 65536 then -> if false then": _LONGER,
}  # fmt: skip
