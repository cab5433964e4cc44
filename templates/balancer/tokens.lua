-- Tokens of an answer, for the log and for limits in tokens per minute. Reads "usage" as it passes; keeps nothing of prompts
-- or answers.
local OVERLAP = 80      -- bytes: the mark, or an event's name and the next line's beginning, may be split between two pieces
local NEEDED = 1024     -- bytes after the mark that can hold its numbers
local MARK = '"usage":'
local WINDOW = 60       -- seconds

-- Each thread has a Lua of its own (lua-load-per-thread: with lua-load, HAProxy 2.6 crashes under load) and tells its sum in a
-- variable of the process, which the others read.
local mine = {}         -- key id -> { window, tokens in it, tokens in the one before } of this thread
local threads = 1
core.register_init(function() threads = tonumber(core.get_info()["Nbthread"]) or 1 end)

local function name(id, thread)
  return "proc.tokens_" .. thread .. "_" .. id:gsub("/", "_S"):gsub("%-", "_")
end

local function add(txn, id, tokens)
  local window = math.floor(core.now().sec / WINDOW)
  local one = mine[id] or { window, 0, 0 }
  if one[1] ~= window then one = { window, 0, one[1] == window - 1 and one[2] or 0 } end
  one[2] = one[2] + tokens
  mine[id] = one
  txn:set_var(name(id, core.thread), one[1] .. " " .. one[2] .. " " .. one[3])
end

-- Sets txn.tokens_minute: tokens of the last minute (the window before counts by the share of it that is in that minute).
core.register_action("tokens_minute", { "http-req" }, function(txn)
  local id = txn:get_var("txn.key")
  if not id then return end
  local now = core.now()
  local at = now.sec + now.usec / 1e6
  local window, share = math.floor(at / WINDOW), 1 - (at % WINDOW) / WINDOW
  local sum = 0
  for thread = 1, threads do
    local told = txn:get_var(name(id, thread))
    if told then
      local w, current, before = told:match("(%d+) (%d+) (%d+)")
      if tonumber(w) == window then
        sum = sum + tonumber(current) + tonumber(before) * share
      elseif tonumber(w) == window - 1 then
        sum = sum + tonumber(current) * share
      end
    end
  end
  txn:set_var("txn.tokens_minute", math.floor(sum))
end, 0)

local Usage = { id = "barewind usage", flags = filter.FLT_CFG_FL_HTX }
Usage.__index = Usage

function Usage:new()
  return setmetatable({ rest = "\n", taken = "", taking = false, events = 0, told = 0 }, Usage)
end

function Usage:start_analyze(txn, channel)
  if channel:is_resp() then filter.register_data_filter(self, channel) end
end

-- OpenAI's prompt_tokens and input_tokens have cached ones in them, Anthropic's input_tokens has not. A stream of Anthropic's
-- begins with an answer of 0 tokens, which tells nothing.
local function numbers(self, text)
  local function number(name) return tonumber(text:match('"' .. name .. '":%s*(%d+)')) end
  local prompt = number("prompt_tokens") or number("input_tokens")
  local answer = number("completion_tokens") or number("output_tokens")
  local read = number("cache_read_input_tokens")
  self.tcached = number("cached_tokens") or read or self.tcached
  if prompt then self.tin = prompt + (read or 0) + (number("cache_creation_input_tokens") or 0) end
  if answer and answer > 0 then self.tout = answer end
end

local function charge(self, txn, least)
  local total = (self.tin or 0) + (self.tout or self.events)
  if self.key and total - self.told >= least then
    add(txn, self.key, total - self.told)
    self.told = total
  end
end

-- Takes what follows the mark until its object is whole, then charges: before the client has it, and can ask again.
local function take(self, txn, text)
  self.taken = self.taken .. text:sub(1, NEEDED - #self.taken)
  local object = self.taken:match("^%s*(%b{})") or #self.taken == NEEDED and self.taken
  self.taking = not object and (self.taken:find("^%s*{") or not self.taken:find("%S"))
  if object then
    numbers(self, object)
    charge(self, txn, 1)
  end
end

-- Whether an event brings tokens: those of /v1/messages and /v1/responses have names, and others begin and end something.
local function brings(text, from)
  local name = text:sub(math.max(1, from - OVERLAP), from - 1):match("event: ([%w_.]+)\r?$")
  return not name or name == "content_block_delta" or name:find("%.delta$")
end

function Usage:http_headers(txn, message)
  if message.channel:is_resp() then self.key = txn:get_var("txn.key") end
end

function Usage:http_payload(txn, message)
  local body = message:body()
  if not body or #body == 0 then return end
  if self.taking then take(self, txn, body) end
  local text = self.rest .. body
  local at = 1
  while true do  -- streamed events: a floor where no usage is told, and where the client leaves early
    local from, found = text:find("\ndata: {", at, true)
    if not found then break end
    if found > #self.rest and brings(text, from) then self.events = self.events + 1 end
    at = found
  end
  at = 1
  while true do
    local _, found = text:find(MARK, at, true)
    if not found then break end
    if found > #self.rest then
      self.taken = ""
      take(self, txn, text:sub(found + 1, found + NEEDED))
    end
    at = found + 1
  end
  self.rest = text:sub(-OVERLAP)
  charge(self, txn, 64)
end

function Usage:end_analyze(txn, channel)
  if not channel:is_resp() then return end
  txn:set_var("txn.events", self.events)
  if self.tout or self.events == 0 then  -- else it ended early, and its events are the estimate of it
    if self.tin then txn:set_var("txn.tokens_in", self.tin) end
    if self.tout then txn:set_var("txn.tokens_out", self.tout) end
    if self.tcached then txn:set_var("txn.tokens_cached", self.tcached) end
  end
  charge(self, txn, 1)
end

core.register_filter("usage", Usage, function(self, args) return self end)
