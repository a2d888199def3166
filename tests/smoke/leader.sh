# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2317 # called by wait_for
# Sourced after train.sh: a pair whose leadership is at a witness, with TLS between the two.

leader() { # NODE FILTER
	ctl "$1" leader show | jq -r "$2"
}

leader_is() {
	[ "$(leader "$1" "$2" 2>/dev/null)" = "$3" ]
}

expect_leader() { # NODE FILTER VALUE
	wait_for 20 leader_is "$@" || fail "leader show of $1: $2 is $(leader "$1" "$2"), not $3"
}

replica_step_is() {
	[ "$(ctl replica status | jq .replica.step)" = "$1" ]
}

witness_start() {
	proc_start witness server "$GRADPLANED" --witness --config "$RUN_DIR/witness.yaml"
	wait_line witness 'info ready' 10
}

# node_start CONF DEVICE [PATH=VALUE]...: with the record at the witness and TLS to the peer
node_start() {
	server_start "$@" leadership.kind=witness 'leadership.endpoints=["127.0.0.1:9793"]' \
		leadership.timeout=2s leadership.poll=100ms "replica.tls.cert=$RUN_DIR/$1.pem" \
		"replica.tls.key=$RUN_DIR/$1.key" "replica.tls.ca=$RUN_DIR/ca.pem" \
		replica.tls.peer_name="$([ "$1" = primary ] && echo replica || echo primary)"
}
