-- SPDX-License-Identifier: BSD-3-Clause
--
-- Wireshark dissector of the gradplane protocol, version 1 (docs/protocol.md). It names every field
-- of every message and marks as malformed what does not have the form of its type: lengths, counts,
-- sections, flags, padding. Values (a kind, a state) are shown as they are.
--
--   wireshark -X lua_script:scripts/gradplane.lua capture.pcap
--   tshark -X lua_script:scripts/gradplane.lua -r capture.pcap -Y gradplane.malformed
--
-- The ports are a preference (gradplane.ports): base_port and one more for each core.

local gradplane = Proto("gradplane", "Gradplane Gradient Protocol")

local HEADER, SECTION, ACK, PAD_MAX, DATAGRAM_MAX, JOB_NAME = 40, 16, 24, 63, 9216, 64
local F_ACK, F_TAG, F_TENTATIVE, F_WANT = 1, 2, 4, 8

local TYPES = {
	"HELLO", "HELLO_REPLY", "JOIN", "WELCOME", "REGISTER", "LAYOUT", "PUSH", "PULL", "RESULT",
	"COMMIT", "ACK", "HEARTBEAT", "HEARTBEAT_REPLY", "BARRIER", "BARRIER_REPLY", "LEAVE",
	"LEAVE_REPLY", "REFUSE", "NACK", "BUSY", "READ", "READ_REPLY", "PULL_ROWS", "ROWS",
	"BEAT",
}
local REASONS = {
	"version", "unknown_job", "rank_taken", "world_size", "rank_range", "mtu", "shape_mismatch",
	"tensor_count", "unknown_tensor", "over_quota", "stale", "other_view", "fenced",
	"wrong_partition", "not_leader", "gone", "not_ready", "bad_payload", "stopping", "too_early",
	"nonfinite", "too_stale",
}
local CODECS = { [0] = "none", "f32", "bf16", "topk", "f16", "int8", "sign", "topk_bf16", "topk_f16",
	"rows" }
local CODEC_ROWS = 9
local KINDS = { "reduce", "train", "embed" }
local ATOMICITIES = { "block", "tensor", "step" }
local CONSISTENCIES = { "bsp", "ssp", "asp", "quorum", "adaptive" }
local DTYPES = { "f32" }
local DECISIONS = { "commit", "view", "cut", "stop" }
local STATES = { [0] = "waiting for workers", "running", "standby", "stopping" }
local LAYOUT_STATES = { [0] = "waits for ranks", "ready" }
local READ_STATES = { [0] = "parked", "granted", "nothing there yet" }
local BOUND_NONE = { [0xffffffff] = "none" }
local RANK_NONE = { [0xffff] = "none" }
local STEP_NEWEST = { [0xffffffff] = "newest" }

-- Fields -----------------------------------------------------------------------------------------

local fields = {}
gradplane.fields = {}

-- Adds the field gradplane.NAME; `kind` is a constructor of ProtoField.
local function field(kind, name, title, ...)
	local f = ProtoField[kind]("gradplane." .. name, title, ...)
	fields[name] = f
	table.insert(gradplane.fields, f)
end

local function flag(name, title, bit)
	field("bool", name, title, 32, nil, bit)
end

local function flag8(name, title, bit)
	field("bool", name, title, 8, nil, bit)
end

field("uint8", "version", "Version")
field("uint8", "type", "Type", base.DEC, TYPES)
field("uint8", "flags", "Flags", base.HEX)
flag8("flags.ack", "Ack block", F_ACK)
flag8("flags.tag", "Tag", F_TAG)
flag8("flags.tentative", "Tentative", F_TENTATIVE)
flag8("flags.want", "Want", F_WANT)
field("uint8", "pad_len", "Pad bytes")
field("uint16", "job", "Job")
field("uint16", "rank", "Rank", base.DEC, RANK_NONE)
field("uint32", "session", "Session", base.HEX)
field("uint32", "epoch", "Epoch")
field("uint32", "view", "View")
field("uint32", "step", "Step", base.DEC, STEP_NEWEST)
field("uint64", "packet", "Packet")
field("uint32", "decision", "Decision")
field("uint16", "credit", "Credit")
field("uint8", "sections", "Sections")
field("uint8", "key", "Key id")

field("none", "section", "Section")
field("uint32", "section.block", "Block")
field("uint16", "section.len", "Payload bytes")
field("uint16", "section.run", "Blocks")
field("uint8", "section.codec", "Codec", base.DEC, CODECS)
field("uint8", "section.flags", "Flags", base.HEX)
flag8("section.flags.ranks", "Set of ranks", 1)
flag8("section.flags.keep", "Absent ones stay", 2)
field("uint16", "section.reserved", "Reserved")
field("float", "section.weight", "Weight")
field("bytes", "section.payload", "Payload")

field("none", "ack", "Ack block")
field("uint64", "ack.largest", "Largest packet")
field("uint64", "ack.bits", "Accepted before it", base.HEX)
field("uint32", "ack.delay_us", "Delay (us)")
field("uint32", "ack.flags", "Flags", base.HEX)
flag("ack.flags.accepted", "Largest accepted", 1)
field("bytes", "tag", "Tag")
field("bytes", "pad", "Pad")

field("uint32", "hello.magic", "Magic", base.HEX)
field("uint8", "hello.versions_count", "Versions count")
field("uint8", "hello.version", "Version")
field("bytes", "hello.versions_unused", "Unused versions")
field("uint32", "hello.size", "Size of the datagram")
field("uint64", "hello.nonce", "Nonce", base.HEX)
field("bytes", "hello.cookie", "Cookie")
field("uint8", "hello.chosen", "Chosen version")
field("bytes", "hello.reserved", "Reserved")
field("bytes", "hello.padding", "Padding")

field("bytes", "join.cookie", "Cookie")
field("uint64", "join.nonce", "Nonce", base.HEX)
field("uint64", "join.incarnation", "Incarnation", base.HEX)
field("uint64", "join.previous", "Previous incarnation", base.HEX)
field("uint32", "join.flags", "Flags", base.HEX)
flag("join.flags.reader", "Reader", 1)
flag("join.flags.replace", "Replace", 2)
flag("join.flags.attach", "Attach", 4)
flag("join.flags.changed", "Only what changed", 8)
flag("join.flags.goes_on", "Goes on", 16)
field("uint32", "join.flags.results", "Codec of results", base.DEC, CODECS, 0xff00)
field("uint16", "join.rank", "Rank", base.DEC, RANK_NONE)
field("uint16", "join.world", "World")
field("uint32", "join.payload_max", "Largest payload")
field("uint32", "join.session", "Session", base.HEX)
field("stringz", "join.job", "Job name")
field("bytes", "join.job_padding", "Padding of the name")

field("uint64", "welcome.nonce", "Nonce", base.HEX)
field("uint32", "welcome.session", "Session", base.HEX)
field("uint16", "welcome.job", "Job")
field("uint16", "welcome.cores", "Cores")
field("uint16", "welcome.base_port", "Base port")
field("uint16", "welcome.home", "Home core")
field("uint8", "welcome.kind", "Kind", base.DEC, KINDS)
field("uint8", "welcome.atomicity", "Atomicity", base.DEC, ATOMICITIES)
field("uint8", "welcome.consistency", "Consistency", base.DEC, CONSISTENCIES)
field("uint8", "welcome.flags", "Flags", base.HEX)
flag8("welcome.flags.mean", "Mean", 1)
flag8("welcome.flags.deterministic", "Deterministic", 2)
flag8("welcome.flags.standby", "Standby", 4)
flag8("welcome.flags.stale_refused", "Stale contributions are refused", 8)
flag8("welcome.flags.whole", "No result before the commit", 16)
field("uint32", "welcome.next_step", "Next step")
field("uint32", "welcome.heartbeat_us", "Heartbeat (us)")
field("uint32", "welcome.timeout_us", "Time-out (us)")
field("uint32", "welcome.slots", "Slots")
field("uint32", "welcome.window", "Window")
field("uint32", "welcome.decision", "Decision")
field("uint64", "welcome.history", "History", base.HEX)
field("uint32", "welcome.payload_max", "Largest payload")
field("uint16", "welcome.world", "World")
field("uint16", "welcome.rank", "Rank", base.DEC, RANK_NONE)
field("uint64", "welcome.incarnation", "Incarnation", base.HEX)
field("uint32", "welcome.rto_min_us", "Shortest time-out (us)")
field("uint32", "welcome.rto_max_us", "Longest time-out (us)")
field("uint64", "welcome.history_before", "History before", base.HEX)
field("uint32", "welcome.history_step", "Up to step")
field("uint32", "welcome.reserved", "Reserved")

field("uint32", "register.tensors_count", "Tensors in all")
field("uint32", "register.first", "First")
field("uint16", "register.n", "Descriptors")
field("bytes", "register.reserved", "Reserved")
field("none", "tensor", "Tensor")
field("uint32", "tensor.priority", "Priority")
field("uint8", "tensor.dtype", "Type of element", base.DEC, DTYPES)
field("uint8", "tensor.dims_count", "Dimensions")
field("uint16", "tensor.name_len", "Name length")
field("uint64", "tensor.dim", "Dimension")
field("string", "tensor.name", "Name")
field("bytes", "tensor.padding", "Padding")

field("uint32", "layout.registered", "Registered")
field("uint32", "layout.state", "State", base.DEC, LAYOUT_STATES)
field("uint32", "layout.block_elems", "Elements in a block")
field("uint32", "layout.blocks_count", "Blocks")
field("uint32", "layout.units_count", "Units")
field("uint32", "layout.flags", "Flags", base.HEX)
flag("layout.flags.initialised", "Initialised", 1)
field("uint32", "layout.next_step", "Next step")
field("uint32", "layout.first", "First")
field("uint16", "layout.n", "Entries")
field("uint16", "layout.missing_count", "Missing ranks")
field("uint16", "layout.missing_rank", "Lowest missing rank", base.DEC, RANK_NONE)
field("uint16", "layout.reserved", "Reserved")
field("none", "layout.entry", "Entry")
field("uint32", "layout.entry.tensor", "Tensor")
field("uint32", "layout.entry.first_block", "First block")
field("uint32", "layout.entry.unit", "Unit")
field("uint32", "layout.entry.codec", "Codec asked for", base.HEX)

field("uint32", "commit.first", "First decision")
field("uint16", "commit.n", "Decisions")
field("uint16", "commit.reserved", "Reserved")
field("none", "commit.entry", "Decision")
field("uint8", "commit.entry.kind", "Kind", base.DEC, DECISIONS)
field("uint8", "commit.entry.flags", "Flags", base.HEX)
flag8("commit.entry.flags.member", "Addressee is a member", 1)
flag8("commit.entry.flags.yours", "Contribution of the addressee", 2)
flag8("commit.entry.flags.late", "Earlier contribution of the addressee", 4)
field("uint16", "commit.entry.ranks", "Ranks")
field("uint32", "commit.entry.unit", "Unit")
field("uint32", "commit.entry.step", "Step")
field("uint32", "commit.entry.view", "View")
field("uint16", "commit.entry.lowest", "Lowest rank")
field("bytes", "commit.entry.reserved", "Reserved")

field("uint32", "heartbeat.known", "Known decision")
field("uint32", "heartbeat.rtt_us", "Round trip (us)")
field("uint64", "heartbeat.time", "Time", base.HEX)
field("uint32", "heartbeat.generation", "Generation")
field("uint32", "heartbeat.view", "View")
field("uint16", "heartbeat.members", "Members")
field("uint16", "heartbeat.missing", "Missing members")
field("uint16", "heartbeat.missing_rank", "Lowest missing rank", base.DEC, RANK_NONE)
field("uint16", "heartbeat.state", "State", base.DEC, STATES)
field("uint32", "heartbeat.next_step", "Next step")
field("uint32", "heartbeat.view_first_step", "First step of the view")
field("uint16", "heartbeat.lowest", "Lowest rank of the view", base.DEC, RANK_NONE)
field("uint8", "heartbeat.flags", "Flags", base.HEX)
flag8("heartbeat.flags.member", "Addressee is a member", 1)
flag8("heartbeat.flags.counted", "Addressee counted", 2)
flag8("heartbeat.flags.ahead", "Addressee counted ahead", 4)
field("bytes", "heartbeat.reserved", "Reserved")
field("uint32", "heartbeat.ahead", "Units ahead")

field("uint32", "read.request", "Request")
field("uint32", "read.clock", "Clock")
field("uint32", "read.flags", "Flags", base.HEX)
flag("read.flags.reserve", "Reserve", 1)
field("bytes", "read.reserved", "Reserved")
field("uint16", "read.state", "State", base.DEC, READ_STATES)
field("uint16", "read.rank", "Waits for rank", base.DEC, RANK_NONE)
field("uint32", "read.generation", "Generation")
field("uint32", "read.bound", "Bound", base.DEC, BOUND_NONE)

field("uint32", "rows.request", "Request")
field("uint32", "rows.place", "Place")
field("uint16", "rows.table", "Table")
field("uint16", "rows.n", "Rows")
field("uint8", "rows.codec", "Codec of values", base.DEC, CODECS)
field("bytes", "rows.reserved", "Reserved")
field("uint16", "rows.dim", "Values of a row")
field("uint64", "rows.id", "Row", base.HEX)
field("bytes", "rows.values", "Values")

field("uint32", "barrier.name", "Name", base.HEX)
field("uint32", "barrier.call", "Call (bit 0: passed)", base.HEX)
field("uint64", "leave.incarnation", "Incarnation", base.HEX)
field("uint64", "beat.cookie", "Cookie of the addressee", base.HEX)
field("uint64", "busy.packet", "Packet")

field("uint16", "refuse.reason", "Reason", base.DEC, REASONS)
field("uint8", "refuse.about", "About", base.DEC, TYPES)
field("uint8", "refuse.reserved", "Reserved")
field("uint32", "refuse.step", "Step")
field("uint32", "refuse.what", "What")
field("uint32", "refuse.age_ms", "Age (ms)")
field("uint64", "refuse.expected", "Expected")
field("uint64", "refuse.seen", "Seen")
field("uint64", "refuse.nonce", "Nonce", base.HEX)
field("ipv6", "refuse.where_ip", "Where")
field("uint16", "refuse.where_port", "Where, port")
field("uint16", "refuse.text_len", "Text length")
field("string", "refuse.text", "Text", base.UNICODE)

local malformed = ProtoExpert.new("gradplane.malformed", "Malformed gradplane datagram",
	expert.group.MALFORMED, expert.severity.ERROR)
gradplane.experts = { malformed }
gradplane.prefs.ports = Pref.range("UDP ports", "9700-9731",
	"base_port of each server and one more for each further core", 65535)

-- Bodies -----------------------------------------------------------------------------------------
-- A body is a list of {field, size} read one after the other. What cannot be a list is a function of
-- (cursor) below. A cursor is {tvb, tree, at, stop}: nothing is read at or after `stop`.

-- Field of flags -> the fields of its bits.
local FLAG_BITS = {
	["join.flags"] = { fields["join.flags.reader"], fields["join.flags.replace"],
		fields["join.flags.attach"], fields["join.flags.changed"],
		fields["join.flags.goes_on"],
		fields["join.flags.results"] },
	["welcome.flags"] = { fields["welcome.flags.mean"], fields["welcome.flags.deterministic"],
		fields["welcome.flags.standby"], fields["welcome.flags.stale_refused"],
		fields["welcome.flags.whole"] },
	["layout.flags"] = { fields["layout.flags.initialised"] },
	["commit.entry.flags"] = { fields["commit.entry.flags.member"],
		fields["commit.entry.flags.yours"], fields["commit.entry.flags.late"] },
	["heartbeat.flags"] = { fields["heartbeat.flags.member"], fields["heartbeat.flags.counted"],
		fields["heartbeat.flags.ahead"] },
	["read.flags"] = { fields["read.flags.reserve"] },
	["section.flags"] = { fields["section.flags.ranks"], fields["section.flags.keep"] },
	["ack.flags"] = { fields["ack.flags.accepted"] },
	["flags"] = { fields["flags.ack"], fields["flags.tag"], fields["flags.tentative"],
		fields["flags.want"] },
}
local NO_BITS = {}

local function complain(c, text)
	c.bad = true
	c.tree:add_proto_expert_info(malformed, text)
	c.pinfo.cols.info:append(" [malformed: " .. text .. "]")
	return false
end

-- The datagram ends too early: its sender's fault, unless the capture kept only its beginning.
local function cut_off(c, where)
	if not c.snapped then
		return complain(c, "cut off " .. where)
	end
	c.pinfo.cols.info:append(" [not captured whole]")
	return false
end

-- Whether anybody sees the field: the tree is shown, or a filter or column names it. Long captures are
-- mostly filtered, and adding what nobody sees is most of the time.
local function is_wanted(c, f)
	return c.visible or c.tree:referenced(f)
end

-- A subtree of `size` bytes from the cursor on.
local function branch(c, name, size, text)
	local f = fields[name]
	if not is_wanted(c, f) then
		return c.tree
	end
	local tree = c.tree:add(f, c.tvb(c.at, size))
	if text then
		tree:append_text(text)
	end
	return tree
end

-- Takes one field of `size` bytes, and adds it to `tree`; false, and a complaint, when it is cut off.
local function take(c, tree, name, size)
	local at = c.at
	if at + size > c.stop then
		return cut_off(c, "before " .. name)
	end
	local range = c.tvb(at, size)
	c.at = at + size
	local f = fields[name]
	if name == "refuse.text" then
		tree:add_packet_field(f, range, ENC_UTF_8)
	elseif is_wanted(c, f) then
		tree = tree:add_le(f, range)
	end
	for _, bit in ipairs(FLAG_BITS[name] or NO_BITS) do
		if is_wanted(c, bit) then
			tree:add_le(bit, range)
		end
	end
	return range
end

local function take_all(c, tree, list)
	for _, entry in ipairs(list) do
		if not take(c, tree, entry[1], entry[2]) then
			return false
		end
	end
	return true
end

local function is_zero(range)
	return not range:raw():find("[^%z]")
end

-- Reserved bytes: shown, and zero.
local function take_zero(c, tree, name, size)
	local range = take(c, tree, name, size)
	if range and not is_zero(range) then
		return complain(c, name .. " is not zero")
	end
	return range
end

local function body_hello(c)
	local magic = take(c, c.tree, "hello.magic", 4)
	if not magic then
		return
	end
	if magic:le_uint() ~= 0x4e4c5047 then
		return complain(c, "magic")
	end
	local count = take(c, c.tree, "hello.versions_count", 1)
	if not count then
		return
	end
	local n = count:uint()
	if n < 1 or n > 7 then
		return complain(c, "versions_count")
	end
	for _ = 1, n do
		if not take(c, c.tree, "hello.version", 1) then
			return
		end
	end
	if n < 7 and not take_zero(c, c.tree, "hello.versions_unused", 7 - n) then
		return
	end
	local size = take(c, c.tree, "hello.size", 4)
	if not size or not take_all(c, c.tree, { { "hello.nonce", 8 }, { "hello.cookie", 24 },
		{ "hello.chosen", 1 } }) then
		return
	end
	if not take_zero(c, c.tree, "hello.reserved", 7) then
		return
	end
	if size:le_uint() ~= c.tvb:reported_len() then
		return complain(c, "size is not the length of the datagram")
	end
	if c.at < c.stop then
		take(c, c.tree, "hello.padding", c.stop - c.at)
	end
end

local JOIN = {
	{ "join.cookie", 24 }, { "join.nonce", 8 }, { "join.incarnation", 8 }, { "join.previous", 8 },
	{ "join.flags", 4 }, { "join.rank", 2 }, { "join.world", 2 }, { "join.payload_max", 4 },
	{ "join.session", 4 },
}

local function body_join(c)
	if not take_all(c, c.tree, JOIN) then
		return
	end
	if c.at + JOB_NAME > c.stop then
		return cut_off(c, "before join.job")
	end
	local name_len = c.tvb(c.at, JOB_NAME):raw():find("%z")
	if not name_len or name_len == 1 then
		return complain(c, "job name is empty or not terminated")
	end
	take(c, c.tree, "join.job", name_len)
	if name_len < JOB_NAME then
		take_zero(c, c.tree, "join.job_padding", JOB_NAME - name_len)
	end
end

local WELCOME = {
	{ "welcome.nonce", 8 }, { "welcome.session", 4 }, { "welcome.job", 2 }, { "welcome.cores", 2 },
	{ "welcome.base_port", 2 }, { "welcome.home", 2 }, { "welcome.kind", 1 },
	{ "welcome.atomicity", 1 }, { "welcome.consistency", 1 }, { "welcome.flags", 1 },
	{ "welcome.next_step", 4 }, { "welcome.heartbeat_us", 4 }, { "welcome.timeout_us", 4 },
	{ "welcome.slots", 4 }, { "welcome.window", 4 }, { "welcome.decision", 4 },
	{ "welcome.history", 8 }, { "welcome.payload_max", 4 }, { "welcome.world", 2 },
	{ "welcome.rank", 2 }, { "welcome.incarnation", 8 }, { "welcome.rto_min_us", 4 },
	{ "welcome.rto_max_us", 4 }, { "welcome.history_before", 8 }, { "welcome.history_step", 4 },
}

local function body_welcome(c)
	take_all(c, c.tree, WELCOME)
	take_zero(c, c.tree, "welcome.reserved", 4)
end

local function tensor(c)
	local start = c.at
	local tree = branch(c, "tensor", 0)
	if not take_all(c, tree, { { "tensor.priority", 4 }, { "tensor.dtype", 1 } }) then
		return false
	end
	local dims = take(c, tree, "tensor.dims_count", 1)
	local name_len = dims and take(c, tree, "tensor.name_len", 2)
	if not name_len then
		return false
	end
	dims, name_len = dims:uint(), name_len:le_uint()
	if dims < 1 or dims > 8 or name_len < 1 or name_len > 63 then
		return complain(c, "dims_count or name_len")
	end
	for _ = 1, dims do
		if not take(c, tree, "tensor.dim", 8) then
			return false
		end
	end
	local name = take(c, tree, "tensor.name", name_len)
	if not name then
		return false
	end
	local padding = -name_len % 8
	if padding > 0 and not take_zero(c, tree, "tensor.padding", padding) then
		return false
	end
	if c.visible then
		tree:append_text(": " .. name:string())
		tree:set_len(c.at - start)
	end
	return true
end

local function body_register(c)
	if not take_all(c, c.tree, { { "register.tensors_count", 4 }, { "register.first", 4 } }) then
		return
	end
	local n = take(c, c.tree, "register.n", 2)
	if not n or not take_zero(c, c.tree, "register.reserved", 6) then
		return
	end
	for _ = 1, n:le_uint() do
		if not tensor(c) then
			return
		end
	end
end

local LAYOUT = {
	{ "layout.registered", 4 }, { "layout.state", 4 }, { "layout.block_elems", 4 },
	{ "layout.blocks_count", 4 }, { "layout.units_count", 4 }, { "layout.flags", 4 },
	{ "layout.next_step", 4 }, { "layout.first", 4 },
}
local LAYOUT_ENTRY = {
	{ "layout.entry.tensor", 4 }, { "layout.entry.first_block", 4 }, { "layout.entry.unit", 4 },
	{ "layout.entry.codec", 4 },
}

local function body_layout(c)
	if not take_all(c, c.tree, LAYOUT) then
		return
	end
	local n = take(c, c.tree, "layout.n", 2)
	if not n or not take_all(c, c.tree, { { "layout.missing_count", 2 },
		{ "layout.missing_rank", 2 } }) or not take_zero(c, c.tree, "layout.reserved", 2) then
		return
	end
	for _ = 1, n:le_uint() do
		if c.at + 16 > c.stop then
			return cut_off(c, "before an entry")
		end
		local tree = branch(c, "layout.entry", 16)
		if not take_all(c, tree, LAYOUT_ENTRY) then
			return
		end
	end
end

local COMMIT_ENTRY = {
	{ "commit.entry.flags", 1 }, { "commit.entry.ranks", 2 }, { "commit.entry.unit", 4 },
	{ "commit.entry.step", 4 }, { "commit.entry.view", 4 }, { "commit.entry.lowest", 2 },
}

local function body_commit(c)
	local first = take(c, c.tree, "commit.first", 4)
	local n = first and take(c, c.tree, "commit.n", 2)
	if not n or not take_zero(c, c.tree, "commit.reserved", 2) then
		return
	end
	if n:le_uint() < 1 or n:le_uint() > 32 then
		return complain(c, "n")
	end
	for i = 0, n:le_uint() - 1 do
		if c.at + 24 > c.stop then
			return cut_off(c, "before a decision")
		end
		local tree = branch(c, "commit.entry", 24,
			(" %d"):format((first:le_uint() + i) % 0x100000000))
		local kind = take(c, tree, "commit.entry.kind", 1)
		if not DECISIONS[kind:uint()] then
			return complain(c, "kind of decision")
		end
		if not take_all(c, tree, COMMIT_ENTRY) or
			not take_zero(c, tree, "commit.entry.reserved", 6) then
			return
		end
	end
end

local function body_heartbeat(c)
	if take(c, c.tree, "heartbeat.known", 4) and take(c, c.tree, "heartbeat.rtt_us", 4) then
		take(c, c.tree, "heartbeat.time", 8)
	end
end

local HEARTBEAT_REPLY = {
	{ "heartbeat.time", 8 }, { "heartbeat.generation", 4 }, { "heartbeat.view", 4 },
	{ "heartbeat.members", 2 }, { "heartbeat.missing", 2 }, { "heartbeat.missing_rank", 2 },
	{ "heartbeat.state", 2 }, { "heartbeat.next_step", 4 }, { "heartbeat.view_first_step", 4 },
	{ "heartbeat.lowest", 2 }, { "heartbeat.flags", 1 },
}

local function body_heartbeat_reply(c)
	if take_all(c, c.tree, HEARTBEAT_REPLY) and take_zero(c, c.tree, "heartbeat.reserved", 1) then
		take(c, c.tree, "heartbeat.ahead", 4)
	end
end

local function body_read(c)
	if take_all(c, c.tree, { { "read.request", 4 }, { "read.clock", 4 }, { "read.flags", 4 } }) then
		take_zero(c, c.tree, "read.reserved", 4)
	end
end

local READ_REPLY = {
	{ "read.request", 4 }, { "read.state", 2 }, { "read.rank", 2 }, { "read.generation", 4 },
	{ "read.clock", 4 }, { "read.bound", 4 },
}

local function body_read_reply(c)
	if take_all(c, c.tree, READ_REPLY) then
		take_zero(c, c.tree, "read.reserved", 12)
	end
end

local ROWS = { { "rows.request", 4 }, { "rows.place", 4 }, { "rows.table", 2 } }

-- What PULL_ROWS and ROWS begin with; the number of rows, or nil after a complaint.
local function rows_head(c)
	if not take_all(c, c.tree, ROWS) then
		return nil
	end
	local n = take(c, c.tree, "rows.n", 2)
	local codec = n and take(c, c.tree, "rows.codec", 1)
	local dim = codec and take_zero(c, c.tree, "rows.reserved", 1) and take(c, c.tree, "rows.dim", 2)
	if not dim then
		return nil
	end
	n, codec, dim = n:le_uint(), codec:uint(), dim:le_uint()
	if n < 1 or dim < 1 or codec < 1 or codec > 2 then
		complain(c, "number of rows, of values or codec")
		return nil
	end
	return n, math.ceil(n * dim * (codec == 1 and 4 or 2) / 4) * 4
end

local function body_pull_rows(c)
	local n = rows_head(c)
	for _ = 1, n or 0 do
		if not take(c, c.tree, "rows.id", 8) then
			return
		end
	end
end

local function body_rows(c)
	local _, size = rows_head(c)
	if size then
		take(c, c.tree, "rows.values", size)
	end
end

-- The payload of a place of a push of rows: its head and ids are shown, the values as bytes.
local function rows_payload(c, tree, size)
	local stop = c.at + size
	local at = c.at
	local n = size >= 8 and c.tvb(at + 2, 2):le_uint() or 0
	if n < 1 or 8 + 8 * n > size then
		return complain(c, "rows of a section")
	end
	take(c, tree, "rows.table", 2)
	take(c, tree, "rows.n", 2)
	take(c, tree, "rows.codec", 1)
	if not take_zero(c, tree, "rows.reserved", 3) then
		return false
	end
	for _ = 1, n do
		take(c, tree, "rows.id", 8)
	end
	return c.at == stop or take(c, tree, "rows.values", stop - c.at)
end

local function body_barrier(c)
	take_all(c, c.tree, { { "barrier.name", 4 }, { "barrier.call", 4 } })
end

local function body_leave(c)
	take(c, c.tree, "leave.incarnation", 8)
end

local function body_beat(c)
	take(c, c.tree, "beat.cookie", 8)
end

local function body_busy(c)
	take(c, c.tree, "busy.packet", 8)
end

local REFUSE = {
	{ "refuse.step", 4 }, { "refuse.what", 4 }, { "refuse.age_ms", 4 }, { "refuse.expected", 8 },
	{ "refuse.seen", 8 }, { "refuse.nonce", 8 }, { "refuse.where_ip", 16 },
	{ "refuse.where_port", 2 },
}

local function body_refuse(c)
	local reason = take(c, c.tree, "refuse.reason", 2)
	local about = reason and take(c, c.tree, "refuse.about", 1)
	if not about or not take_zero(c, c.tree, "refuse.reserved", 1) or
		not take_all(c, c.tree, REFUSE) then
		return
	end
	local name = REASONS[reason:le_uint()]
	if not name or not TYPES[about:uint()] then
		return complain(c, "reason or type")
	end
	c.pinfo.cols.info:append(" " .. name)
	local len = take(c, c.tree, "refuse.text_len", 2)
	if len and len:le_uint() > 0 then
		take(c, c.tree, "refuse.text", len:le_uint())
	end
end

local function body_payloads(c)
	for i, s in ipairs(c.list) do
		if s.len > 0 then
			if c.at + s.len > c.stop then
				return cut_off(c, "in the payload of section " .. i)
			end
			if s.codec ~= CODEC_ROWS then
				take(c, s.tree, "section.payload", s.len)
			elseif not rows_payload(c, s.tree, s.len) then
				return
			end
		end
	end
end

local function body_none() end

-- flags: allowed; must: needed; sections: whether there are any; payload: whether they carry bytes.
local RULES = {
	HELLO = { flags = 0, body = body_hello },
	HELLO_REPLY = { flags = 0, body = body_hello },
	JOIN = { flags = 0, body = body_join },
	WELCOME = { flags = 0, body = body_welcome },
	REGISTER = { flags = 0, body = body_register },
	LAYOUT = { flags = F_ACK, body = body_layout },
	PUSH = { flags = F_WANT, sections = true, payload = true, body = body_payloads },
	PULL = { flags = F_WANT, sections = true, body = body_none },
	RESULT = { flags = F_ACK + F_TENTATIVE, sections = true, payload = true, body = body_payloads },
	COMMIT = { flags = F_ACK, body = body_commit },
	ACK = { flags = F_ACK, must = F_ACK, body = body_none },
	HEARTBEAT = { flags = 0, body = body_heartbeat },
	HEARTBEAT_REPLY = { flags = F_ACK, body = body_heartbeat_reply },
	BARRIER = { flags = 0, body = body_barrier },
	BARRIER_REPLY = { flags = F_ACK, body = body_barrier },
	LEAVE = { flags = 0, body = body_leave },
	LEAVE_REPLY = { flags = F_ACK, body = body_leave },
	REFUSE = { flags = F_ACK, body = body_refuse },
	NACK = { flags = F_ACK, sections = true, body = body_none },
	BUSY = { flags = F_ACK, sections = true, body = body_busy },
	READ = { flags = 0, body = body_read },
	READ_REPLY = { flags = F_ACK, body = body_read_reply },
	PULL_ROWS = { flags = 0, body = body_pull_rows },
	ROWS = { flags = F_ACK, body = body_rows },
	BEAT = { flags = 0, body = body_beat },
}

-- Parts before the body --------------------------------------------------------------------------

local HEADER_FIELDS = {
	{ "version", 1 }, { "type", 1 }, { "flags", 1 }, { "pad_len", 1 }, { "job", 2 }, { "rank", 2 },
	{ "session", 4 }, { "epoch", 4 }, { "view", 4 }, { "step", 4 }, { "packet", 8 },
	{ "decision", 4 }, { "credit", 2 }, { "sections", 1 }, { "key", 1 },
}

local function section(c, rule, kind)
	local at = c.at
	if at + SECTION > c.stop then
		return cut_off(c, "in the sections")
	end
	local tvb = c.tvb
	local block, len, run = tvb(at, 4):le_uint(), tvb(at + 4, 2):le_uint(), tvb(at + 6, 2):le_uint()
	local codec, weight = tvb(at + 8, 1):uint(), tvb(at + 12, 4):le_float()
	local tree = branch(c, "section", SECTION, c.visible and
		(" block %u run %u %s %u bytes"):format(block, run, CODECS[codec] or "?", len))
	take(c, tree, "section.block", 4)
	take(c, tree, "section.len", 2)
	take(c, tree, "section.run", 2)
	take(c, tree, "section.codec", 1)
	take(c, tree, "section.flags", 1)
	if not take_zero(c, tree, "section.reserved", 2) then
		return false
	end
	take(c, tree, "section.weight", 4)
	table.insert(c.list, { len = len, tree = tree, codec = codec })
	if run < 1 or (run > 1 and len > 0) or block + run - 1 > 0xffffffff then
		return complain(c, "run of a section")
	end
	if (codec == 0) ~= (len == 0) or not CODECS[codec] or (len > 0 and not rule.payload) or
		(codec == CODEC_ROWS and kind ~= "PUSH") then
		return complain(c, "codec or length of a section")
	end
	-- Only a result may leave out what stays as it is.
	local keeps = kind == "RESULT" and (codec == 0 or codec == 3 or codec == 7 or codec == 8)
	local set = tvb(at + 9, 1):uint()
	if set ~= 0 and not (keeps and set == 2) then
		return complain(c, "flags of a section")
	end
	local finite = weight == weight and tvb(at + 15, 1):uint() < 0x80 and weight < math.huge
	if not finite or (kind == "PUSH" and weight == 0 and len > 0) or (not rule.payload and weight ~= 0) then
		return complain(c, "weight of a section")
	end
	return true
end

local function ack_block(c)
	if c.at + ACK > c.stop then
		return cut_off(c, "in the ack block")
	end
	local tree = branch(c, "ack", ACK)
	return take_all(c, tree, { { "ack.largest", 8 }, { "ack.bits", 8 }, { "ack.delay_us", 4 },
		{ "ack.flags", 4 } })
end

-- All between header and body; false after a complaint.
local function parts(c, rule, kind)
	local flags, pad, sections = c.tvb(2, 1):uint(), c.tvb(3, 1):uint(), c.tvb(38, 1):uint()
	if bit32.band(flags, bit32.bnot(rule.flags)) ~= 0 or
		bit32.band(flags, rule.must or 0) ~= (rule.must or 0) or c.tvb(39, 1):uint() ~= 0 then
		return complain(c, "flags or key not allowed on " .. kind)
	end
	if (sections > 0) ~= (rule.sections or false) or sections > 64 then
		return complain(c, "number of sections on " .. kind)
	end
	for _ = 1, sections do
		if not section(c, rule, kind) then
			return false
		end
	end
	if bit32.band(flags, F_ACK) ~= 0 and not ack_block(c) then
		return false
	end
	if pad > PAD_MAX then
		return complain(c, "pad above 63")
	end
	return pad == 0 or take_zero(c, c.tree, "pad", pad)
end

local function info(c, kind)
	local tvb = c.tvb
	local rank, step = tvb(6, 2):le_uint(), tvb(20, 4):le_uint()
	local text = ("%s rank %s step %s"):format(kind, RANK_NONE[rank] or rank,
		STEP_NEWEST[step] or step)
	if c.list[1] then
		text = text .. (" sections %d"):format(#c.list)
	end
	c.pinfo.cols.info:set(text)
end

function gradplane.dissector(tvb, pinfo, root)
	pinfo.cols.protocol:set("GRADPLANE")
	local tree = root:add(gradplane, tvb())
	local c = { tvb = tvb, pinfo = pinfo, tree = tree, at = 0, stop = tvb:len(), list = {} }
	c.visible = tree.visible
	c.snapped = tvb:len() < tvb:reported_len()
	pinfo.cols.info:set("gradplane")
	if tvb:len() < HEADER then
		return cut_off(c, "in the header")
	end
	if tvb:reported_len() > DATAGRAM_MAX then
		return complain(c, "longer than a datagram can be")
	end
	take_all(c, tree, HEADER_FIELDS)
	local kind = TYPES[tvb(1, 1):uint()]
	if tvb(0, 1):uint() ~= 1 or not kind then
		return complain(c, "version or type")
	end
	tree:append_text(", " .. kind)
	info(c, kind)
	local rule = RULES[kind]
	if parts(c, rule, kind) then
		rule.body(c)
		if c.at < c.stop and not c.bad then
			complain(c, "bytes behind the body")
		end
	end
end

-- Ports ------------------------------------------------------------------------------------------

local udp = DissectorTable.get("udp.port")
local ports = nil

local function ports_apply()
	if ports ~= gradplane.prefs.ports then
		if ports then
			udp:remove(ports, gradplane)
		end
		ports = gradplane.prefs.ports
		udp:add(ports, gradplane)
	end
end

gradplane.prefs_changed = ports_apply
ports_apply()
