"""Mutants that no test of one engine finds: they do the same, or the same more slowly; each with its reason."""

from __future__ import annotations

_HELD = "`held:` has only what is leased to that owner"
_LONGER = "the same bytes behind a longer head"
_FLAG = "the row says whether there is one only so that none is looked for in vain"
_FALSE = "what it has to do with is false where there is none, and so is this then"
_NIL = "nothing stands under nil, and nil is what it would be"
_NOBODY = "nobody is found and told"
_SLOW = "the long way gives the same"
_ONE_BY_ONE = "what is not read for many at once is read one by one"
_LOOP = "a loop over nothing does nothing"
_ANEW = "it is worked out anew, to the same"
_TRUE = "it counts as true"
_NO_BYTES = "of no bytes nothing is unpacked"
_THERE = "only what is there is erased"
_SAME = "it is written anew, to the same"
_NO_OTHER = "no other effect has true there"
_LINE = "`ready:` has only what is ready and was never charged"

_LEASED = "lib/leased: if state ~= IS_READY or expires > 0 or crashes > 0 then -> if "
_BURY = "lib/bury: if r and r[STATE] == IS_LEASED and r[OWNER] == name then -> if "

EQUAL: dict[str, str] = {
    "claim: return { cmsgpack.pack({ settled, o and true or false, batches, next_due, pause, wants_alone, idles }) } "
    "-> return { cmsgpack.pack({ settled, o and true, batches, next_due, pause, wants_alone, idles }) }": _FALSE,
    "lib/plain: return valued or known[4], known[3], valued and true, known[6] -> "
    "return valued or known[4], known[3], valued, known[6]": "a row counts as true",
    _LEASED + "expires > 0 or crashes > 0 then": _LINE,
    _LEASED + "state ~= IS_READY or expires > 0 then": _LINE,
    "lib/settle_swiftly: if raw and raw ~= last then -> if raw then": _ANEW,
    "lib/settle_swiftly: for j = 1, waited and #ids or 0 do -> for j = 1, #ids or 0 do": "`wake` asks again who waits",
    "lib/lease_swiftly: if call('EXISTS', unpack(keys)) == 0 then -> if false then": "each is looked at",
    "lib/lease_swiftly: local charged = i > 1 and i % 2 == 1 -> local charged = i % 2 == 1": _SLOW,
    "lib/lease_swiftly: local charged = i > 1 and i % 2 == 1 -> local charged = i > 1": _SLOW,
    "lib/lease_swiftly: if at and (charged or at <= now) then -> if at then": _SLOW,
    "lib/lease_swiftly: if raw and raw ~= last then -> if raw then": _ANEW,
    "lib/lease_swiftly: if #got.ids == 0 then -> if false then": "they are gathered one by one",
    _BURY + "r and r[STATE] == IS_LEASED then": _HELD,
    _BURY + "r[STATE] == IS_LEASED and r[OWNER] == name then": _HELD,
    "forget: local raw = r[HAS_STORY] == 1 and read('story', id) -> local raw = read('story', id)": _FLAG,
    "get: if ARGV[3] ~= '' and r[STATE] <= IS_LEASED then -> if r[STATE] <= IS_LEASED then": "'' is part of any text",
    "get: local value = r[HAS_VALUE] == 1 and read('value', id) -> local value = read('value', id)": _FLAG,
    "get: local err = r[HAS_ERROR] == 1 and read('error', id) -> local err = read('error', id)": _FLAG,
    "lib/effects: return at and true or false -> return at and true": "nothing counts as false",
    "lib/finish: if body:sub(1, 2) ~= '[[' then -> if false then": "such a body is sent as one that takes nothing",
    "lib/finish: if n < 256 then -> if false then": _LONGER,
    "lib/finish: if n < 65536 then -> if false then": _LONGER,
    "lib/finish: local result = after[2] == 'id' and cjson.encode(parent) or value and value ~= '' and value or 'null' "
    "-> local result = after[2] == 'id' and cjson.encode(parent) or value ~= '' and value or 'null'": _FALSE,
    "lib/lease: if raw then -> if false then": _SLOW,
    "lib/moves: if value and r[KEEP_RESULT] == 1 then -> if r[KEEP_RESULT] == 1 then": _FALSE,
    "lib/newborn: if not text:find('[\\194\\195]') then -> if false then": "there is nothing to replace in it",
    "lib/settle: local value, err = item[8] and ARGV[item[8]], item[9] and ARGV[item[9]] -> "
    "local value, err = ARGV[item[8]], item[9] and ARGV[item[9]]": _NIL,
    "lib/settle: local value, err = item[8] and ARGV[item[8]], item[9] and ARGV[item[9]] -> "
    "local value, err = item[8] and ARGV[item[8]], ARGV[item[9]]": _NIL,
    "lib/settle: local due = item[7] and item[7] >= 0 and item[7] or now + math.max(item[6] or 0, 0) -> "
    "local due = item[7] and item[7] or now + math.max(item[6] or 0, 0)": "a moment before 1970 is sent as 0",
    "lib/story: local raw = r[HAS_STORY] == 1 and read('story', id) -> local raw = read('story', id)": _FLAG,
    "lib/story: { r[ENDED], NAMES[r[STATE]], r[REASON] ~= '' and r[REASON], by, r[ATTEMPT], r[FENCE], false, err } -> "
    "{ r[ENDED], NAMES[r[STATE]], r[REASON], by, r[ATTEMPT], r[FENCE], false, err }": "'' is shown as none",
    "lib/unit: if #ids > 0 then -> if false then": _ONE_BY_ONE,
    "lib/wake: if #ended > 0 and call('EXISTS', N .. 'waiting') == 1 then -> "
    "if call('EXISTS', N .. 'waiting') == 1 then": _LOOP,
    "lib/wake: if #ended > 0 and call('EXISTS', N .. 'waiting') == 1 then -> if #ended > 0 then": _NOBODY,
    "purge: return { dropped, #ids + lost == 0 and 1 or 0, string.format('%.0f', last) } -> "
    "return { dropped, #ids + lost == 0 and 1, string.format('%.0f', last) }": "false is sent as nil, not 1",
    "replay: local guards = ARGV[4] ~= '' and cmsgpack.unpack(ARGV[4]) or {} -> "
    "local guards = cmsgpack.unpack(ARGV[4]) or {}": _NO_BYTES,
    "store: answer = value and (not holder or value[4] == holder) and true or false -> "
    "answer = value and (not holder or value[4] == holder) and true": _FALSE,
    "lib/records: local value = { data, before and before[2] + 1 or 1, expires or false, holder or false } -> "
    "local value = { data, before and before[2] + 1 or 1, expires, holder or false }": "it is never nil",
    "lib/accept: local ends = tombs and call('ZSCORE', N .. 'tomb', id) -> "
    "local ends = call('ZSCORE', N .. 'tomb', id)": _FLAG,
    "lib/accept: if value and value[4] == id then -> if value then": _SAME,
    "lib/endings: if effect[1] == 'remove' and effect[3] == true and not effect[4] then -> "
    "if effect[3] == true and not effect[4] then": _NO_OTHER,
    "lib/endings: local lives = effect[1] == 'touch' and effect[4] == true and effect[3] -- its due moment is past -> "
    "local lives = effect[4] == true and effect[3] -- its due moment is past": _NO_OTHER,
    "lib/endings: local lives, times, all = {}, {}, effects and true -> "
    "local lives, times, all = {}, {}, effects": _TRUE,
    "lib/endings: all = all and life and true -> all = all and life": _TRUE,
    "lib/held: if found[i] and found[i]:byte(CANCEL_AT + 2) > 0 then -> if found[i] then": _FLAG,
    "lib/held: if records[key] == nil then -> if false then": _ONE_BY_ONE,
    "lib/held: if records[key] == nil then -> if not (records[key] == nil) then": _ONE_BY_ONE,
    "lib/holdings: return expires < 0 or expires > now -> return expires > now": _SLOW,
    "lib/purge: if value and value[4] == id then -> if value then": _SAME,
    "lib/purge: if value and not lapsed(value) then -> if value then": "the next sweep takes it",
    "lib/records: local brought = r[HAS_END] > 0 and read('on_end', id) -> local brought = read('on_end', id)": _FLAG,
    "lib/records: if r == nil and not raw then -> if not raw then": "what is known is asked for",
    "lib/records: if r == nil and not raw then -> if r == nil then": _ANEW,
    "lib/records: local state = r and r[STATE] or r == nil and raw:byte() -> local state = r and r[STATE] or r == nil":
        "what is done with a record of its own lets that live for as long as it was written",
    "lib/records: return state and state ~= IS_DONE and lives_of(holder)[key] or false -> "
    "return state and state ~= IS_DONE and lives_of(holder)[key]": _FALSE,
    "lib/records: local value = { data, before and before[2] + 1 or 1, expires or false, holder or false } -> "
    "local value = { data, before and before[2] + 1 or 1, expires or false, holder }": "it is never nil",
    "lib/records: into_bin(key, before and before[5] or 0, 0) -> into_bin(key, before[5] or 0, 0)": _THERE,
    "lib/records: into_bin(key, before and before[5] or 0, 0) -> into_bin(key, before and before[5], 0)": _THERE,
    "lib/records: local born = id and not rows[id] and (borns[id] or read('born', id)) -> "
    "local born = id and not rows[id] and (read('born', id))": _ONE_BY_ONE,
    "lib/records: local born = id and not rows[id] and (borns[id] or read('born', id)) -> "
    "local born = id and not rows[id] and (borns[id])": _SLOW,
    "lib/records: if born then -> if false then": _SLOW,
    "lib/settle: answers[#answers + 1] = done_at_once(id, found[i], owner, fence, held[id], keys[id], own, value, "
    "whole) or settle({ id, fence, owner, 'done', nil, nil, nil, value, nil, own }) -> "
    "answers[#answers + 1] = settle({ id, fence, owner, 'done', nil, nil, nil, value, nil, own })": _SLOW,
    "lib/settle: if raw and held ~= false and raws[id] == nil and rows[id] == nil then -> if false then": _SLOW,
    "claim: local items = ARGV[8] ~= '' and cmsgpack.unpack(ARGV[8]) or {} -> local items = "
    "cmsgpack.unpack(ARGV[8]) or {}": _NO_BYTES,
    "bury: bury(ARGV[2], started, ARGV[4] ~= '' and cmsgpack.unpack(ARGV[4]), moved) -> bury(ARGV[2], "
    "started, cmsgpack.unpack(ARGV[4]), moved)": _NO_BYTES,
    "claim: local idles = o and limit > 0 and seq > o[4] and #ids == 0 and not wants_alone or false -> "
    "local idles = o and seq > o[4] and #ids == 0 and not wants_alone or false": "who asks for nothing does not wait",
    "lib/unit: if not found[i] then -> if false then": _ONE_BY_ONE,
    "lib/unit: if not found[i] then -> if not (not found[i]) then": _ONE_BY_ONE,
    "lib/unit: local packed = #missing > 0 and call('EXISTS', N .. 'later') == 1 and call('HMGET', N .. "
    "'later', unpack(missing)) -> local packed = #missing > 0 and call('HMGET', N .. 'later', "
    "unpack(missing))": _FLAG,
    "lib/unit: laters[missing[i]] = packed and packed[i] or false -> laters[missing[i]] = packed and "
    "packed[i]": _ONE_BY_ONE,
    "publish: for _, guard in ipairs(items[i][11] or {}) do -> for _, guard in ipairs({}) do": _ONE_BY_ONE,
    "publish: keys[#keys + 1] = guard[1] == 'add' and guard[2] or nil -> keys[#keys + 1] = guard[2] or "
    "nil": "what no guard takes is read in vain",
    "publish_plain: local later = call('EXISTS', N .. 'later') == 1 and call('HMGET', N .. 'later', "
    "unpack(ids)) or {} -> local later = call('HMGET', N .. 'later', unpack(ids)) or {}": _FLAG,
    "publish_plain: local ends = tombs and call('ZSCORE', N .. 'tomb', id) -> local ends = "
    "call('ZSCORE', N .. 'tomb', id)": _FLAG,
    "publish_one: if new ~= 1 and call('HEXISTS', N .. 'message', id) == 0 then -> if call('HEXISTS', N "
    ".. 'message', id) == 0 then": "what it has put there is there",
    "publish_one: waits = waits or call('EXISTS', N .. 'ready:' .. queue, N .. 'charged:' .. queue) -> "
    "waits = call('EXISTS', N .. 'ready:' .. queue, N .. 'charged:' .. queue)": "it is asked again",
    "scan: ids[#ids + 1], raws[id], laters[id] = id, in_message and value, not in_message and value -> "
    "ids[#ids + 1], raws[id], laters[id] = id, in_message and value, value": "it stands in the other",
    "scan: local born = in_message and #ids > 0 and call('HMGET', N .. 'born', unpack(ids)) or {} -> "
    "local born = #ids > 0 and call('HMGET', N .. 'born', unpack(ids)) or {}": "there is none of these",
    "claim: local idles = o and limit > 0 and seq > o[4] and #ids == 0 and not wants_alone or false -> "
    "local idles = o and limit > 0 and seq > o[4] and #ids == 0 and not wants_alone": _FALSE,
}  # fmt: skip
