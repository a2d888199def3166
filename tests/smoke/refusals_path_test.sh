#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Nobody at the address, a path that carries less than the job needs, a server of another version: the
# worker says so within seconds.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

refused() { # REGEX OPTION...
	proc_start guest worker1 "$GRADWORKER" --server "$ADDR_PRIMARY:9700" --job fashion --rank 1 \
		--world 2 --model softmax --steps 10 "${@:2}"
	expect_error guest "gradworker: error: .*$1"
}

hello() { # VERSION...
	ns_run worker1 /usr/bin/python3 "$SMOKE_DIR/hello.py" ask "$ADDR_PRIMARY" 9700 "$@"
}

smoke_begin 2 1500
primary_start 2

refused "10\.99\.0\.99:9700 did not answer within 2000 ms" --server 10.99.0.99:9700
refused "10\.99\.0\.1:9790 did not answer within 2000 ms" --server "$ADDR_PRIMARY:9790"
refused "10\.99\.0\.10:9700.* nobody listens" --server 10.99.0.10:9700

# The interface knows it; then only the path does, which loses what is larger.
ip -n "$GP_RUN-worker1" link set eth0 mtu 1280
refused "carries an IP MTU of 1280 bytes, job 'fashion' needs 1500"
ip -n "$GP_RUN-worker1" link set eth0 mtu 1500
ip -n "$GP_RUN-server" link set w1 mtu 1280
refused "carries an IP MTU of 1280 bytes, job 'fashion' needs 1500"
ip -n "$GP_RUN-server" link set w1 mtu 1000
refused "did not answer within 2000 ms .*at least 1280 bytes"
ip -n "$GP_RUN-server" link set w1 mtu 1500

expect "hello with versions 7 and 9" "chosen=0 speaks=1" "$(hello 7 9)"
expect "hello with versions 9 and 1" "chosen=1 speaks=1" "$(hello 9 1)"
proc_start future worker0 /usr/bin/python3 "$SMOKE_DIR/hello.py" answer 9800 7
wait_line future ready 5
refused "speaks protocol version 7, this library version 1" --server 10.99.0.10:9800
smoke_end
