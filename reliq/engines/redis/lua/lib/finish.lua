-- needs: accept effects endings
-- What ends a message frees what it holds: `on_end` of all that ended in this step, also of what that ends.
-- A follow-up: {item, takes, payload} or {item, takes, what stands before the body, the body, what stands after it}.
local function spliced(body, value)
  if body:sub(1, 2) ~= '[[' then
    return body -- accepted as it is, so that the worker quarantines it for all to see
  end
  local rest = body:sub(3)
  return '[[' .. value .. (rest:sub(1, 1) == ']' and '' or ',') .. rest
end

local function binary(bytes)
  local n = #bytes
  if n < 256 then
    return '\196' .. string.char(n) .. bytes
  end
  if n < 65536 then
    return '\197' .. struct.pack('>I2', n) .. bytes
  end
  return '\198' .. struct.pack('>I4', n) .. bytes
end

-- Publish what follows from a message's step, unless that was done before.  Without a limit of size.
local function follow(after, parent, value)
  if known(after[1][1]) then
    return
  end
  if after[2] == '' then
    accept(after[1], raw(after[3]))
    return
  end
  local result = after[2] == 'id' and cjson.encode(parent) or value and value ~= '' and value or 'null'
  accept(after[1], raw(after[3]) .. binary(spliced(raw(after[4]), result)) .. raw(after[5]))
end

local function finish()
  local i = 1
  while pending[i] do
    local id, state, value = unpack(pending[i], 1, 3)
    local brought = read('on_end', id)
    local keys = {}
    for _, on in ipairs(brought and endings_of(brought, keys) or {}) do
      if on[1] == 'any' or on[1] == NAMES[state] then
        apply(on[2], id, keys)
        for _, after in ipairs(on[3]) do
          follow(after, id, value)
        end
      end
    end
    i = i + 1
  end
  pending = {}
end
