# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The network of a run, all of it in namespaces named after the run:
#
#	server (gradplaned, its tap or veth, bridge br0) --- worker0, worker1, ...
#	with relay:  br0 --- [relay: in1 <- gp_relay -> in0 --- its own br0] --- worker0, ...
#
# 10.99.0.0/24 and fd99::/64: 1 primary, 2 replica, 10+R worker R. Frames leave a namespace as they
# would leave a cable: checksums filled in, never larger than the MTU.

NET_MTU=1500
export ADDR_PRIMARY=10.99.0.1 ADDR_REPLICA=10.99.0.2

# ns_run NAMESPACE COMMAND...: server, relay, worker0, ...
ns_run() {
	ip netns exec "$GP_RUN-$1" "${@:2}"
}

ns_make() {
	ip netns add "$GP_RUN-$1"
	ns_run "$1" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 \
		net.ipv6.conf.default.accept_ra=0
	ip -n "$GP_RUN-$1" link set lo up
}

# iface_up NAMESPACE IFACE [BRIDGE]: no offloads, MTU of the run, up; a bridge's port has no address.
iface_up() {
	local ns=$GP_RUN-$1 feature
	for feature in tx rx gso gro tso tx-udp-segmentation txvlan rxvlan; do
		ip netns exec "$ns" ethtool -K "$2" "$feature" off >/dev/null 2>&1 || true
	done
	ip -n "$ns" link set "$2" mtu "$NET_MTU" txqueuelen 10000
	[ $# -lt 3 ] || ip -n "$ns" link set "$2" addrgenmode none
	[ -z "${3:-}" ] || ip -n "$ns" link set "$2" master "$3"
	ip -n "$ns" link set "$2" up
}

bridge_make() { # NAMESPACE BRIDGE
	ip -n "$GP_RUN-$1" link add "$2" type bridge stp_state 0 forward_delay 0 mcast_snooping 0
	iface_up "$1" "$2" ''
}

# cable NAMESPACE IFACE HUB BRIDGE PORT: a veth pair from a namespace to the bridge of another.
cable() {
	ip link add "$5" netns "$GP_RUN-$3" type veth peer name "$2" netns "$GP_RUN-$1"
	iface_up "$3" "$5" "$4"
}

# net_make WORKERS MTU [relay]
net_make() {
	local r hub=server worker
	NET_MTU=$2
	ns_make server
	bridge_make server br0
	if [ "${3:-}" = relay ]; then
		hub=relay
		ns_make relay
		bridge_make relay br0
		cable relay in0 relay br0 workers
		cable relay in1 server br0 relay
		iface_up relay in0 ''
		iface_up relay in1 ''
	fi
	for ((r = 0; r < $1; r++)); do
		worker=worker$r
		ns_make "$worker"
		cable "$worker" eth0 "$hub" br0 "w$r"
		ip -n "$GP_RUN-$worker" addr add "10.99.0.$((10 + r))/24" dev eth0
		ip -n "$GP_RUN-$worker" addr add "fd99::$(printf %x $((10 + r)))/64" dev eth0 nodad
		iface_up "$worker" eth0
		ip -n "$GP_RUN-$worker" route get "$ADDR_PRIMARY" | grep -q ' dev eth0 ' ||
			fail "$worker would not send to $ADDR_PRIMARY through eth0"
	done
}

# relay_start OPTION...: workers are on the `up` side.
relay_start() {
	proc_start relay relay "$GP_RELAY" --a in0 --b in1 "$@"
	wait_line relay '^relay: ready' 5
}

# net_attach_tap IFACE: the interface of a DPDK process that is ready joins br0. The kernel's end gets
# an address of its own (DPDK writes its there when the port starts, hence the order): a bridge keeps
# frames for the addresses of its ports.
net_attach_tap() {
	ip -n "$GP_RUN-server" link set "$1" address "02:99$(od -An -N4 -tx1 /dev/urandom | tr ' ' :)" ||
		fail "no interface $1"
	iface_up server "$1" br0
}

# net_make_port IFACE: a cable end in the server's namespace for DPDK's net_af_packet.
net_make_port() {
	ip -n "$GP_RUN-server" link add "$1" type veth peer name "$1-br"
	iface_up server "$1" ''
	iface_up server "$1-br" br0
}

net_remove() {
	ip netns list | awk -v run="$GP_RUN-" 'index($1, run) == 1 { print $1 }' | xargs -r -n 1 ip netns del
}
