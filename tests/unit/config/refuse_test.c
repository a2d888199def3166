// SPDX-License-Identifier: BSD-3-Clause
//
// Every refusal, with its position, what was seen and what is allowed.
#include "config_test.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static struct gp_config config;
static char err[GP_CONFIG_ERROR_SIZE];

struct refusal {
	const char *text;
	const char *error; // the error begins so
};

static void refusals_check(const struct refusal *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int rc = text_parse(table[i].text, &config, err);
		cr_expect_eq(rc, -EINVAL, "accepted:\n%s", table[i].text);
		cr_expect_eq(strncmp(err, table[i].error, strlen(table[i].error)), 0,
			"seen     %s\nexpected %s", err, table[i].error);
	}
}

#define CHECK(table) refusals_check((table), GP_ARRAY_SIZE(table))
// A job with one more key, in line 5 column 48.
#define JOB(extra)                                                                                 \
	NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: reduce, workers: 2, " extra  \
				   "}\n"

Test(refuse, keys)
{
	static const struct refusal table[] = {
		{"node:\n  namex: x\n", "t.yaml:2:3: node.namex: unknown key; did you mean name?"},
		{"nod: 1\n", "t.yaml:1:1: nod: unknown key; did you mean node?"},
		{"job: []\n", "t.yaml:1:1: job: unknown key; did you mean jobs?"},
		{"mtu: 1\n", "t.yaml:1:1: mtu: unknown key; there is port.mtu"},
		{"node: {zzzzzz: 1}\n",
			"t.yaml:1:8: node.zzzzzz: unknown key; allowed: name id role "
			"insecure log_level"},
		{"node.name: x\n", "t.yaml:1:1: node.name: unknown key"},
		{"jobs[]: x\n", "t.yaml:1:1: jobs[]: unknown key"},
		{"\"a\\0b\": x\n", "t.yaml:1:1: a?b: unknown key"},
		{"'': x\n", "t.yaml:1:1: : unknown key"},
		{"node: {id: 1, id: 1}\n", "t.yaml:1:15: node.id: is given twice, first in line 1"},
		{NODE_OK NODE_OK, "t.yaml:2:1: node: is given twice, first in line 1"},
		{"jobs: []\njobs: []\n", "t.yaml:2:1: jobs: is given twice"},
		{JOB("id: 2"), "t.yaml:5:48: jobs[0].id: is given twice, first in line 5"},
		{JOB("optimizer: {lr: 1}, optimizer: {lr: 1}"),
			"t.yaml:5:68: jobs[0].optimizer: is given twice"},
		{"? [a]\n: 1\n", "t.yaml:1:3: a list stands where a key is expected"},
		{"? {a: 1}\n: 1\n", "t.yaml:1:3: a mapping stands where a key is expected"},
	};
	CHECK(table);
}

Test(refuse, shape)
{
	static const struct refusal table[] = {
		{"", "t.yaml:1:1: the file is empty"},
		{"# only a comment\n", "t.yaml:1:1: the file is empty"},
		{"5\n", "t.yaml:1:1: the file holds one value"},
		{"[]\n", "t.yaml:1:1: the file holds a list"},
		{"node: 5\n", "t.yaml:1:7: node: is a single value, not a mapping"},
		{"node:\n", "t.yaml:1:6: node: is empty, not a mapping"},
		{"node: []\n", "t.yaml:1:7: node: is a list, not a mapping"},
		{"jobs: 5\n", "t.yaml:1:7: jobs: is a single value, not a list"},
		{"jobs: {}\n", "t.yaml:1:7: jobs: is a mapping, not a list"},
		{"jobs: [5]\n", "t.yaml:1:8: jobs[0]: is a single value, not a mapping"},
		{"jobs: [[]]\n", "t.yaml:1:8: jobs[0]: is a list, not a mapping"},
		{"node: {id: []}\n", "t.yaml:1:12: node.id: is a list, not an integer"},
		{"node: {id: {}}\n", "t.yaml:1:12: node.id: is a mapping, not an integer"},
		{"eal: {extra_args: x}\n",
			"t.yaml:1:19: eal.extra_args: is a single value, not a list"},
		{"eal: {extra_args: [a, []]}\n",
			"t.yaml:1:23: eal.extra_args[1]: is a list, not text"},
		{"address: {ipv6: [a]}\n",
			"t.yaml:1:18: address.ipv6[0]: a is not an IPv6 address"},
		{"address: {ipv6: ['1::1/64', '1::2/64', '1::3/64', '1::4/64', '1::5/64']}\n",
			"t.yaml:1:62: address.ipv6: has more than 4 items"},
		{"a: [\n", "t.yaml:1:1: a: unknown key"},
		{"node: {\n", "t.yaml:2:1: not YAML:"},
		{"node:\n\tname: x\n", "t.yaml:2:1: not YAML:"},
		{ALL_OK "---\n" ALL_OK, "t.yaml:6:1: a second document begins; one is allowed"},
		{"node: &x {}\n", "t.yaml:1:7: an anchor"},
		{"node: {name: &x a}\n", "t.yaml:1:14: an anchor"},
		{"jobs: &x []\n", "t.yaml:1:7: an anchor"},
		{"node: *x\n", "t.yaml:1:7: an alias"},
		{"node: {id: !!int 1}\n", "t.yaml:1:12: a tag"},
		{"node: !x {}\n", "t.yaml:1:7: a tag"},
	};
	CHECK(table);
}

Test(refuse, bytes_that_are_not_utf8)
{
	static const struct refusal table[] = {
		{"node: {name: \xff}\n", "t.yaml:1:"},
		{"node: {name: \xc3\xa4}\n", "t.yaml:1:14: node.name: ?? is not a name"},
		{"node: {name: \"a\\0b\"}\n", "t.yaml:1:14: node.name: a?b holds a zero byte"},
		{"port: {device: \"a\\tb\"}\n", "t.yaml:1:16: port.device: a?b holds a character"},
	};
	CHECK(table);
}

Test(refuse, integers)
{
	static const struct refusal table[] = {
		{"jobs:\n  - name: x\n    workers: 0\n",
			"t.yaml:3:14: jobs[0].workers: 0 is out of range 1..256"},
		{JOB("slots: 262144"),
			"t.yaml:5:55: jobs[0].slots: 262144 is out of range 2..131072, a power"},
		{JOB("slots: 96"), "t.yaml:5:55: jobs[0].slots: 96 is not a power of two"},
		{"node: {id: -1}\n", "t.yaml:1:12: node.id: -1 is out of range 0..1"},
		{"node: {id: 99999999999999999999}\n",
			"t.yaml:1:12: node.id: 99999999999999999999 is out"},
		{"node: {id: 4294967296}\n",
			"t.yaml:1:12: node.id: 4294967296 is out of range 0..1"},
		{"node: {id: 1.0}\n",
			"t.yaml:1:12: node.id: 1.0 is not an integer (allowed: 0..1)"},
		{"node: {id: 0x1}\n", "t.yaml:1:12: node.id: 0x1 is not an integer"},
		{"node: {id: 01}\n", "t.yaml:1:12: node.id: 01 is not an integer"},
		{"node: {id: -}\n", "t.yaml:1:12: "},
		{"node: {id: \"1\"}\n", "t.yaml:1:12: node.id: \"1\" is a string, not an integer"},
		{"node: {id: ~}\n", "t.yaml:1:12: node.id: has no value (allowed: 0..1)"},
		{"node: {id: }\n", "t.yaml:1:12: node.id: has no value"},
		{"node: {id: one}\n", "t.yaml:1:12: node.id: one is not an integer"},
	};
	CHECK(table);
}

Test(refuse, other_values)
{
	static const struct refusal table[] = {
		{"node: {insecure: yes}\n", "t.yaml:1:18: node.insecure: yes is not a boolean "
					    "(allowed: true, false)"},
		{"node: {insecure: 'true'}\n", "t.yaml:1:18: node.insecure: \"true\" is a string"},
		{"node: {role: boss}\n", "t.yaml:1:14: node.role: boss is not one of the words "
					 "(allowed: primary, replica)"},
		{"node: {name: a/b}\n", "t.yaml:1:14: node.name: a/b is not a name"},
		{"node: {name: .}\n", "t.yaml:1:14: node.name: . is not a name"},
		{"node: {name: ''}\n", "t.yaml:1:14: node.name: empty text is not a name"},
		{"node: {name: "
		 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr}\n",
			"t.yaml:1:14: node.name: 70 characters are too many, at most 63"},
		{"eal: {memory: 64}\n",
			"t.yaml:1:15: eal.memory: 64 has no unit: write KiB, MiB or GiB"},
		{"eal: {memory: 64MB}\n", "t.yaml:1:15: eal.memory: 64MB is not a size in KiB, MiB "
					  "or GiB (allowed: 32MiB.."},
		{"eal: {memory: 64 MiB}\n", "t.yaml:1:15: eal.memory: 64 MiB is not a size"},
		{"eal: {memory: 99999999999999GiB}\n",
			"t.yaml:1:15: eal.memory: 99999999999999GiB is out"},
		{"eal: {memory: 1MiB}\n",
			"t.yaml:1:15: eal.memory: 1MiB is out of range 32MiB..1024GiB"},
		{"cores: {idle_sleep_max: 20}\n",
			"t.yaml:1:25: cores.idle_sleep_max: 20 has no unit: "
			"write us, ms or s"},
		{"cores: {idle_sleep_max: 2s}\n",
			"t.yaml:1:25: cores.idle_sleep_max: 2s is out of range "
			"0us..1ms"},
		{JOB("optimizer: {lr: nan}"),
			"t.yaml:5:64: jobs[0].optimizer.lr: nan is not a number"},
		{JOB("optimizer: {lr: 0x1p3}"),
			"t.yaml:5:64: jobs[0].optimizer.lr: 0x1p3 is not a num"},
		{JOB("optimizer: {lr: 1e999}"),
			"t.yaml:5:64: jobs[0].optimizer.lr: 1e999 is out of r"},
		{JOB("optimizer: {lr: -0.1}"),
			"t.yaml:5:64: jobs[0].optimizer.lr: -0.1 is out of range"},
		{"snapshot: {directory: d}\n",
			"t.yaml:1:23: snapshot.directory: d is not an absolute path"},
		{"snapshot: {restore: old}\n",
			"t.yaml:1:21: snapshot.restore: old is not a choice"},
	};
	CHECK(table);
}

Test(refuse, addresses)
{
	static const struct refusal table[] = {
		{"address: {ipv4: 10.0.0.1}\n",
			"t.yaml:1:17: address.ipv4: 10.0.0.1 is not an IPv4 "
			"address with prefix (allowed: a.b.c.d/prefix)"},
		{"address: {ipv4: 10.0.0.1/33}\n", "t.yaml:1:17: address.ipv4: 10.0.0.1/33 is not"},
		{"address: {ipv4: 10.0.0.1/0}\n", "t.yaml:1:17: address.ipv4: 10.0.0.1/0 is not"},
		{"address: {ipv4: 10.0.0.1/24x}\n",
			"t.yaml:1:17: address.ipv4: 10.0.0.1/24x is not"},
		{"address: {ipv4: 10.0.0/24}\n", "t.yaml:1:17: address.ipv4: 10.0.0/24 is not"},
		{"address: {ipv4: 10.0.0.0/24}\n",
			"t.yaml:1:17: address.ipv4: 10.0.0.0/24 is the address "
			"of the whole network"},
		{"address: {ipv4: 10.0.0.255/24}\n",
			"t.yaml:1:17: address.ipv4: 10.0.0.255/24 is the"},
		{"address: {ipv4: 224.0.0.1/24}\n",
			"t.yaml:1:17: address.ipv4: 224.0.0.1/24 is not the "
			"address of one host"},
		{"control: {http: localhost:80}\n",
			"t.yaml:1:17: control.http: localhost:80 is not an "
			"address with port (allowed: a.b.c.d:port, "
			"[a:b::c]:port, off)"},
		{"control: {http: '1.2.3.4:0'}\n", "t.yaml:1:17: control.http: 1.2.3.4:0 is not"},
		{"control: {http: '1.2.3.4:65536'}\n",
			"t.yaml:1:17: control.http: 1.2.3.4:65536 is not"},
		{"control: {http: '[::1]80'}\n", "t.yaml:1:17: control.http: [::1]80 is not"},
		{"replica: {peer: 'off'}\n", "t.yaml:1:17: replica.peer: off is not"},
		{"port: {mac: 'a:b:c:d:e:f'}\n",
			"t.yaml:1:13: port.mac: a:b:c:d:e:f is not an Ethernet"},
		{"port: {mac: '01:00:00:00:00:01'}\n",
			"t.yaml:1:13: port.mac: 01:00:00:00:00:01 is not "
			"the address of one host"},
		{"port: {mac: '0x:00:00:00:00:01'}\n",
			"t.yaml:1:13: port.mac: 0x:00:00:00:00:01 is not"},
	};
	CHECK(table);
}

Test(refuse, missing)
{
	static const struct refusal table[] = {
		{PORT_OK, "t.yaml:1:1: node.name: is missing"},
		{"eal: {}\nnode: {insecure: true}\n", "t.yaml:2:1: node.name: is missing"},
		{"node: {name: a}\n",
			"t.yaml:1:1: node.insecure: is missing (allowed: true, false)"},
		{NODE_OK "port: {driver: tap}\n", "t.yaml:2:1: port.device: is missing"},
		{NODE_OK PORT_OK JOBS_OK, "t.yaml:1:1: address: has neither ipv4 nor ipv6"},
		{NODE_OK PORT_OK ADDRESS_OK,
			"t.yaml:1:1: jobs: is empty; role primary needs a job"},
		{NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1}\n",
			"t.yaml:5:5: jobs[0].kind: is missing (allowed: reduce, train, embed)"},
		{NODE_OK PORT_OK ADDRESS_OK
			"jobs:\n  - {name: j, id: 1, kind: train, workers: 1}\n",
			"t.yaml:5:5: jobs[0].optimizer.lr: is missing"},
		{"node: {name: a, role: replica, insecure: true}\n" PORT_OK ADDRESS_OK,
			"t.yaml:1:1: replica.mode: is none, but role replica needs snapshots or"},
		{"node: {name: a, role: replica, insecure: true}\n" PORT_OK ADDRESS_OK
		 "replica: {mode: snapshots}\n",
			"t.yaml:4:1: replica.listen: is missing"},
		{ALL_OK "replica: {mode: snapshots}\n", "t.yaml:6:1: replica.peer: is missing"},
	};
	CHECK(table);
}

Test(refuse, contradictions)
{
	static const struct refusal table[] = {
		{"node: {name: a, insecure: false}\n" PORT_OK ADDRESS_OK JOBS_OK,
			"t.yaml:1:17: node.insecure: is false (allowed: true): packet "
			"authentication is not "
			"available"},
		{ALL_OK "eal: {memory: 65537KiB}\n",
			"t.yaml:6:7: eal.memory: is not a whole number"},
		{ALL_OK "cores: {count: 2, udp_port: 65535}\n",
			"t.yaml:6:19: cores.udp_port: 65535 with 2"},
		{NODE_OK "port: {driver: tap, device: abcdefghijklmnop}\n" ADDRESS_OK JOBS_OK,
			"t.yaml:2:21: port.device: abcdefghijklmnop is not a name of a kernel "
			"interface"},
		{NODE_OK "port: {driver: pci, device: eth0}\n" ADDRESS_OK JOBS_OK,
			"t.yaml:2:21: port.device: eth0 is not a PCI address"},
		{NODE_OK "port: {driver: memif, device: m}\n" ADDRESS_OK JOBS_OK,
			"t.yaml:2:23: port.device: m is not the absolute path"},
		{NODE_OK "port: {driver: tap, device: t, links: 2}\n" ADDRESS_OK JOBS_OK,
			"t.yaml:2:32: port.links: is for driver memif"},
		{NODE_OK "port: {driver: tap, device: t, udp_checksum: optional}\n" ADDRESS_OK
				JOBS_OK,
			"t.yaml:2:32: port.udp_checksum: optional is for driver memif"},
		{NODE_OK "port: {driver: tap, device: t, mtu: 1000}\naddress: {ipv6: "
			 "['1::1/64']}\n" JOBS_OK,
			"t.yaml:2:32: port.mtu: 1000 is below 1280"},
		{ALL_OK "replica: {listen: '1.2.3.4:5'}\n",
			"t.yaml:6:11: replica.listen: is for role repl"},
		{ALL_OK "replica: {peer: '1.2.3.4:5'}\n",
			"t.yaml:6:11: replica.peer: is given, but"},
		{ALL_OK "replica: {mode: snapshots, peer: '10.0.0.1:9701'}\n",
			"t.yaml:6:28: replica.peer: 10.0.0.1 is an address of this node's own "
			"port"},
		{NODE_OK PORT_OK "address: {ipv4: 10.0.0.1/24, ipv6: ['fd00::1/64']}\n" JOBS_OK
				 "replica: {mode: snapshots, peer: '[fd00:0::1]:9701'}\n",
			"t.yaml:6:28: replica.peer: fd00:0::1 is an address of this node's own "
			"port"},
		{JOB("optimizer: {lr: 1}"),
			"t.yaml:5:48: jobs[0].optimizer: is for kinds train and embed"},
		{JOB("workers_min: 3"),
			"t.yaml:5:48: jobs[0].workers_min: 3 is more than workers, which is"},
		{JOB("path_mtu_min: 1501"),
			"t.yaml:5:48: jobs[0].path_mtu_min: 1501 is more than port.mtu"},
		{ALL_OK "  - {name: k, id: 1, kind: reduce, workers: 1}\n",
			"t.yaml:6:15: jobs[1].id: 1 is also the id of jobs[0]"},
		{ALL_OK "  - {name: j, id: 2, kind: reduce, workers: 1}\n",
			"t.yaml:6:6: jobs[1].name: j is also the name of jobs[0]"},
		{JOB("views_log: /v") "  - {name: k, id: 2, kind: reduce, workers: 1, views_log: "
				      "/v}\n",
			"t.yaml:6:48: jobs[1].views_log: /v is also that of jobs[0]"},
		{NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: train, workers: 1,\n"
					    "     optimizer: {lr: 1, momentum: 0.5}}\n",
			"t.yaml:6:25: jobs[0].optimizer.momentum: is for momentum and nesterov"},
	};
	CHECK(table);
}

#define OPTIMIZER(keys)                                                                            \
	NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: train, workers: 1,\n"        \
				   "     optimizer: {" keys "}}\n"

#define OPTIMIZER_OF(job, keys)                                                                    \
	NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: train, " job                 \
				   " workers: 1,\n"                                                \
				   "     optimizer: {" keys "}}\n"

Test(refuse, optimizers_that_cannot_be)
{
	static const struct refusal table[] = {
		{OPTIMIZER("lr: 1, name: rmsprop"),
			"t.yaml:6:31: jobs[0].optimizer.name: rmsprop is not one of"},
		{OPTIMIZER("lr: 1, beta1: 0.5"), "t.yaml:6:25: jobs[0].optimizer.beta1: is for "
						 "adam, adamw and lamb; the optimizer is sgd"},
		{OPTIMIZER("lr: 1, name: momentum, epsilon: 0.5"),
			"t.yaml:6:41: jobs[0].optimizer.epsilon: is for adagrad, adam, adamw and "
			"lamb"},
		{OPTIMIZER("lr: 1, name: ftrl, weight_decay: 0.5"),
			"t.yaml:6:37: jobs[0].optimizer.weight_decay: is for all but ftrl, which "
			"has l2"},
		{OPTIMIZER("lr: 1, name: ftrl, schedule: step"),
			"t.yaml:6:37: jobs[0].optimizer.schedule: is for all but ftrl"},
		{OPTIMIZER("lr: 1, l1: 1"), "t.yaml:6:25: jobs[0].optimizer.l1: is for ftrl"},
		{OPTIMIZER("lr: 1, gamma: 0.5"), "t.yaml:6:25: jobs[0].optimizer.gamma: is for the "
						 "schedule step; the schedule is "
						 "constant"},
		{OPTIMIZER("lr: 1, schedule: step, schedule_steps: 5, lr_min: 0.5"),
			"t.yaml:6:60: jobs[0].optimizer.lr_min: is for the schedule cosine"},
		{OPTIMIZER("lr: 1, schedule: cosine"),
			"t.yaml:6:6: jobs[0].optimizer.schedule_steps: is missing; the schedule "
			"cosine"},
		{OPTIMIZER("lr: 1, schedule: cosine, schedule_steps: 5, lr_min: 2"),
			"t.yaml:6:6: jobs[0].optimizer: cannot be: lr_min is outside [0, lr]"},
		{OPTIMIZER("lr: 1, name: nesterov, momentum: 0"),
			"t.yaml:6:6: jobs[0].optimizer: cannot be: nesterov needs a momentum above "
			"0"},
		{OPTIMIZER("lr: 0, name: ftrl"),
			"t.yaml:6:6: jobs[0].optimizer: cannot be: lr of ftrl"},
		{OPTIMIZER("lr: 1, name: adam, beta2: 1"),
			"t.yaml:6:44: jobs[0].optimizer.beta2: 1 is out of range 0..0.9999999"},
		{OPTIMIZER_OF("consistency: ssp,", "lr: 1, clip_norm: 1"),
			"t.yaml:6:25: jobs[0].optimizer.clip_norm: is for consistency bsp and "
			"quorum; "
			"this job's is ssp"},
		{OPTIMIZER_OF("atomicity: tensor,", "lr: 1, clip_norm: 1"),
			"t.yaml:6:25: jobs[0].optimizer.clip_norm: a limit is for atomicity step; "
			"this "
			"job's is tensor"},
		{OPTIMIZER_OF("consistency: asp,", "lr: 1, name: lamb"),
			"t.yaml:6:25: jobs[0].optimizer.name: lamb is for consistency bsp; this "
			"job's is "
			"asp"},
		{OPTIMIZER_OF("atomicity: block,", "lr: 1, name: lamb"),
			"t.yaml:6:25: jobs[0].optimizer.name: lamb is for atomicity step; this "
			"job's is "
			"block"},
		{OPTIMIZER("lr: 1, clip_norm: -1"),
			"t.yaml:6:36: jobs[0].optimizer.clip_norm: -1 is out of range"},
	};
	CHECK(table);
}

#define TRAIN(keys)                                                                                \
	NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: train, workers: 3,\n"        \
				   "     optimizer: {lr: 1},\n     " keys "}\n"

Test(refuse, consistencies_that_cannot_be)
{
	static const struct refusal table[] = {
		{TRAIN("consistency: lax"),
			"t.yaml:7:19: jobs[0].consistency: lax is not one of the words (allowed: "
			"bsp, ssp, asp, quorum, adaptive)"},
		{JOB("consistency: ssp"),
			"t.yaml:5:48: jobs[0].consistency: ssp is for kind train"},
		{JOB("consistency: asp"),
			"t.yaml:5:48: jobs[0].consistency: asp is for kind train"},
		{JOB("consistency: adaptive"),
			"t.yaml:5:48: jobs[0].consistency: adaptive is for kind train"},
		{TRAIN("consistency: ssp, atomicity: tensor"),
			"t.yaml:7:24: jobs[0].atomicity: tensor is for consistency bsp; ssp takes"},
		{TRAIN("consistency: quorum, quorum: {min: 2}, atomicity: block"),
			"t.yaml:7:45: jobs[0].atomicity: block is not for quorum, which takes "
			"step"},
		{TRAIN("consistency: asp, deterministic: true"),
			"t.yaml:7:24: jobs[0].deterministic: is true, but the result of asp"},
		{TRAIN("staleness: {}"), "t.yaml:7:6: jobs[0].staleness: is for consistency ssp, "
					 "asp, quorum and adaptive; this job's is bsp"},
		{TRAIN("consistency: asp, staleness: {bound: 1}"),
			"t.yaml:7:36: jobs[0].staleness.bound: is for consistency ssp and "
			"adaptive"},
		{TRAIN("consistency: ssp, staleness: {bound_min: 1}"),
			"t.yaml:7:36: jobs[0].staleness.bound_min: is for consistency adaptive"},
		{TRAIN("consistency: quorum, quorum: {min: 2}, staleness: {max: 1}"),
			"t.yaml:7:57: jobs[0].staleness.max: is for consistency ssp, asp and adap"},
		{TRAIN("consistency: quorum, quorum: {min: 2}, staleness: {lr: true}"),
			"t.yaml:7:57: jobs[0].staleness.lr: is for consistency ssp, asp and adap"},
		{TRAIN("consistency: ssp, quorum: {min: 1}"),
			"t.yaml:7:24: jobs[0].quorum: is for consistency quorum; this job's is "
			"ssp"},
		{TRAIN("cuts: {max: 4}"), "t.yaml:7:6: jobs[0].cuts: is for consistency ssp,"},
		{TRAIN("consistency: adaptive, staleness: {bound: 2, bound_min: 3}"),
			"t.yaml:7:51: jobs[0].staleness.bound_min: 3 is more than bound, which is "
			"2"},
		{TRAIN("consistency: ssp, staleness: {policy: refuse}"),
			"t.yaml:7:36: jobs[0].staleness.policy: needs staleness.max"},
		{TRAIN("consistency: quorum"), "t.yaml:5:5: jobs[0].quorum.min: is missing; "
					       "consistency quorum needs it (allowed: 1..3)"},
		{TRAIN("consistency: quorum, quorum: {min: 4}"),
			"t.yaml:7:36: jobs[0].quorum.min: 4 is more than workers, which is 3"},
		{TRAIN("consistency: quorum, quorum: {min: 2}, workers_min: 3"),
			"t.yaml:7:45: jobs[0].workers_min: 3 is more than quorum.min, which is 2"},
		{TRAIN("consistency: quorum, quorum: {min: 2, wait: none}"),
			"t.yaml:7:50: jobs[0].quorum.wait: none is not a time in us, ms or s "
			"(allowed: "
			"0us..60s, auto)"},
		{TRAIN("consistency: ssp, cuts: {max: 2}"),
			"t.yaml:7:36: jobs[0].cuts.max: 2 is out of range 3..8"},
		{TRAIN("transport: {rto_min: 2ms, rto_max: 1ms}"),
			"t.yaml:7:18: jobs[0].transport.rto_min: 2000us is more than rto_max"},
	};
	CHECK(table);
}

Test(refuse, role_replica_with_peer)
{
	static const struct refusal table[] = {
		{"node: {name: a, role: replica, insecure: true}\n" PORT_OK ADDRESS_OK
		 "replica: {mode: snapshots, peer: '1.2.3.4:5'}\n",
			"t.yaml:4:28: replica.peer: is for role primary"},
	};
	CHECK(table);
}

Test(refuse, job_number_65)
{
	char text[8192] = NODE_OK PORT_OK ADDRESS_OK "jobs:\n";
	for (int i = 0; i < 65; i++)
		strcat(text, "- {workers: 1}\n");
	cr_assert_eq(text_parse(text, &config, err), -EINVAL);
	cr_assert_str_eq(err, "t.yaml:69:3: jobs: has more than 64 items");
}

Test(refuse, argument_number_17)
{
	char text[512] = "eal:\n  extra_args:\n";
	for (int i = 0; i < 17; i++)
		strcat(text, "  - x\n");
	cr_assert_eq(text_parse(text, &config, err), -EINVAL);
	cr_assert_str_eq(err, "t.yaml:19:5: eal.extra_args: has more than 16 items");
}

// The schema ends a load long before libyaml's stack grows.
Test(refuse, deep_nesting)
{
	static char text[GP_CONFIG_FILE_SIZE_MAX];
	snprintf(text, sizeof(text), "jobs: ");
	memset(text + 6, '[', sizeof(text) - 6);
	int rc = gp_config_parse("t.yaml", text, sizeof(text), &config, err, sizeof(err));
	cr_assert_eq(rc, -EINVAL);
	cr_assert_str_eq(err, "t.yaml:1:8: jobs[0]: is a list, not a mapping");
	memset(text, '{', sizeof(text));
	rc = gp_config_parse("t.yaml", text, sizeof(text), &config, err, sizeof(err));
	cr_assert_eq(rc, -EINVAL);
	cr_assert_str_eq(err, "t.yaml:1:2: a mapping stands where a key is expected");
}

Test(refuse, more_than_1_mib)
{
	size_t size = GP_CONFIG_FILE_SIZE_MAX + 1;
	char *text = malloc(size);
	cr_assert(text);
	snprintf(text, size, "%s", ALL_OK);
	memset(text + strlen(ALL_OK), '#', size - strlen(ALL_OK));
	int rc = gp_config_parse("t.yaml", text, size - 1, &config, err, sizeof(err));
	cr_assert_eq(rc, 0, "%s", err);
	cr_assert_eq(gp_config_parse("t.yaml", text, size, &config, err, sizeof(err)), -EINVAL);
	cr_assert_str_eq(err, "t.yaml:1:1: is larger than 1MiB");
	free(text);
}

Test(refuse, short_error_buffer_is_terminated)
{
	char small[8];
	memset(small, 'x', sizeof(small));
	cr_assert_eq(gp_config_parse("t.yaml", "a: 1", 4, &config, small, sizeof(small)), -EINVAL);
	cr_assert_str_eq(small, "t.yaml:");
}

// The part in question begins in line 5.
#define LEAD(text) ALL_OK_4 text
#define ALL_OK_4   NODE_OK PORT_OK ADDRESS_OK "jobs: [{name: j, id: 1, kind: reduce, workers: 2}]\n"
#define FILES	   "cert: /c, key: /k, ca: /a"

Test(refuse, leadership)
{
	static const struct refusal table[] = {
		{LEAD("leadership: {kind: zookeeper}\n"), "t.yaml:5:20: leadership.kind: zookeeper "
							  "is not one of the words (allowed: none, "
							  "manual, witness, etcd)"},
		{LEAD("leadership: {key: a}\n"),
			"t.yaml:5:14: leadership.key: is given, but leadership.kind is none"},
		{LEAD("leadership: {kind: etcd}\n"),
			"t.yaml:5:1: leadership.endpoints: is missing"},
		{LEAD("leadership: {kind: etcd, endpoints: [localhost:2379]}\n"),
			"t.yaml:5:38: leadership.endpoints[0]: localhost:2379 is not an address"},
		{LEAD("leadership: {kind: witness, endpoints: [\"127.0.0.1:1\", "
		      "\"127.0.0.1:2\"]}\n"),
			"t.yaml:5:29: leadership.endpoints: has 2 items: several witnesses would"},
		{LEAD("leadership: {kind: manual, endpoints: [\"127.0.0.1:1\"]}\n"),
			"t.yaml:5:28: leadership.endpoints: is for etcd and witness"},
		{LEAD("leadership: {kind: manual, tls: {" FILES "}}\n"),
			"t.yaml:5:28: leadership.tls: is for etcd and witness"},
		{LEAD("leadership: {kind: etcd, endpoints: [\"127.0.0.1:1\"], directory: /d}\n"),
			"t.yaml:5:54: leadership.directory: is for manual"},
		{LEAD("leadership: {kind: etcd, endpoints: [\"127.0.0.1:1\"], tls: {cert: /c}}\n"),
			"t.yaml:5:54: leadership.tls.key: is missing; TLS needs cert, key and ca"},
		{LEAD("leadership: {kind: etcd, timeout: 1ms}\n"),
			"t.yaml:5:35: leadership.timeout: 1ms is out of range 10ms..10s"},
		{LEAD("replica: {on_loss: alone}\n"), "t.yaml:5:11: replica.on_loss: is alone: "
						      "only safe where a register decides"},
		{LEAD("replica: {on_loss: alone}\nleadership: {kind: manual}\n"),
			"t.yaml:5:11: replica.on_loss: is alone"},
		{LEAD("replica: {tls: {" FILES ", peer_name: b}}\n"),
			"t.yaml:5:11: replica.tls: is given, but replica.mode is none"},
		{LEAD("replica: {lag_max: 5}\n"),
			"t.yaml:5:11: replica.lag_max: is given, but replica.mode is none"},
		{LEAD("replica: {mode: snapshots, peer: \"127.0.0.1:1\", lag_max: 5}\n"
		      "snapshot: {interval_steps: 6}\n"),
			"t.yaml:5:49: replica.lag_max: 5 is less than the steps between two "
			"snapshots (snapshot.interval_steps: 6)"},
		{LEAD("replica: {mode: sync, peer: \"127.0.0.1:1\"}\n"),
			"t.yaml:5:11: replica.mode: is sync, but leadership.kind is none"},
		{LEAD("replica: {mode: sync}\nleadership: {kind: manual}\n"),
			"t.yaml:5:1: replica.listen: is missing, and replica.peer as well"},
		{LEAD("replica: {mode: sync, peer: \"127.0.0.1:1\", listen: \"127.0.0.1:2\"}\n"
		      "leadership: {kind: manual}\n"),
			"t.yaml:5:23: replica.peer: is given beside replica.listen"},
		{LEAD("replica: {mode: sync, peer: \"127.0.0.1:1\", lag_max: 5}\n"
		      "leadership: {kind: manual}\n"),
			"t.yaml:5:44: replica.lag_max: is for mode snapshots"},
		{LEAD("replica: {mode: snapshots, peer: \"127.0.0.1:1\", timeout: 1s}\n"),
			"t.yaml:5:49: replica.timeout: is for mode sync"},
		{LEAD("replica: {mode: sync, peer: \"127.0.0.1:1\", timeout: 1ms}\n"),
			"t.yaml:5:53: replica.timeout: 1ms is out of range 5ms..60s"},
		{NODE_OK PORT_OK ADDRESS_OK
			"jobs: [{name: j, id: 1, kind: train, workers: 2, consistency: quorum, "
			"quorum: {min: 2}, staleness: {policy: hold}, optimizer: {lr: 1}}]\n"
			"replica: {mode: sync, peer: \"127.0.0.1:1\"}\n"
			"leadership: {kind: manual}\n",
			"t.yaml:4:101: jobs[0].staleness.policy: is not refuse, which a quorum "
			"needs"},
		{LEAD("replica: {mode: snapshots, peer: \"127.0.0.1:1\", tls: {" FILES "}}\n"),
			"t.yaml:5:49: replica.tls.peer_name: is missing"},
	};
	CHECK(table);
}

Test(refuse, a_lag_that_would_hold_nobody_back)
{
	static const struct refusal table[] = {
		{NODE_OK PORT_OK ADDRESS_OK
			"jobs: [{name: j, id: 1, kind: train, workers: 2, consistency: asp, "
			"optimizer: {lr: 1}}]\n"
			"replica: {mode: snapshots, peer: \"127.0.0.1:1\", lag_max: 50}\n"
			"snapshot: {interval_steps: 6}\n",
			"t.yaml:4:50: jobs[0].consistency: is asp, and replica.lag_max bounds"},
	};
	CHECK(table);
}

Test(refuse, witness)
{
	static const struct refusal table[] = {
		{ALL_OK_4 "witness: {listen: \"127.0.0.1:1\", directory: /d}\n",
			"t.yaml:1:17: node.insecure: is for servers; this file configures a "
			"witness"},
		{"node: {name: w}\nwitness: {listen: \"127.0.0.1:1\"}\n",
			"t.yaml:2:1: witness.directory: is missing"},
		{"node: {name: w}\nwitness: {directory: /d}\n",
			"t.yaml:2:1: witness.listen: is missing"},
		{"witness: {listen: \"127.0.0.1:1\", directory: /d}\n",
			"t.yaml:1:1: node.name: is missing"},
		{"node: {name: w}\nport: {mtu: 1500}\nwitness: {listen: \"127.0.0.1:1\", "
		 "directory: /d}\n",
			"t.yaml:2:1: port: is for servers"},
		{"node: {name: w}\nwitness: {listen: \"127.0.0.1:1\", directory: /d, tls: {cert: "
		 "/c}}\n",
			"t.yaml:2:49: witness.tls.key: is missing; TLS needs cert, key and ca, and "
			"the name"},
	};
	CHECK(table);
}
