// SPDX-License-Identifier: BSD-3-Clause
//
// What loads, and that what is printed loads again to the same.
#include "config_test.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct gp_config config, again;
static char err[GP_CONFIG_ERROR_SIZE];

// Prints `c`, loads the text into `again`, and compares every byte.
static void round_trip(const struct gp_config *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	cr_assert(f);
	gp_config_print(f, c);
	fclose(f);
	int rc = gp_config_parse("printed", text, len, &again, err, sizeof(err));
	cr_assert_eq(rc, 0, "%s\n%s", err, text);
	cr_assert_eq(memcmp(c, &again, sizeof(*c)), 0, "%s", text);
	free(text);
}

Test(parse, least_file_gets_defaults)
{
	cr_assert_eq(text_parse(ALL_OK, &config, err), 0, "%s", err);
	cr_assert_eq(config.node.role, GP_ROLE_PRIMARY);
	cr_assert_eq(config.eal.memory, 256u << 20);
	cr_assert_eq(config.port.mtu, 1500);
	cr_assert_eq(config.cores.udp_port, 9700);
	cr_assert_eq(config.cores.idle_sleep_max_us, 20);
	cr_assert_str_eq(config.control.http.host, "127.0.0.1");
	cr_assert_eq(config.control.http.port, 9790);
	cr_assert_eq(config.jobs_count, 1);
	const struct gp_config_job *j = &config.jobs[0];
	cr_assert_eq(j->atomicity, GP_ATOMICITY_TENSOR);
	cr_assert_eq(j->worker_timeout_us, 500000);
	cr_assert_eq(j->path_mtu_min, 1500);
	cr_assert(j->deterministic);
	round_trip(&config);
}

Test(parse, train_defaults_depend_on_kind_and_optimizer)
{
	cr_assert_eq(text_parse(NODE_OK PORT_OK ADDRESS_OK
			     "jobs:\n"
			     "- {name: a, id: 1, kind: train, workers: 1, optimizer: {lr: 0.1}}\n"
			     "- {name: b, id: 2, kind: train, workers: 1,\n"
			     "   optimizer: {name: nesterov, lr: 1e-3}}\n",
			     &config, err),
		0, "%s", err);
	cr_assert_eq(config.jobs[0].atomicity, GP_ATOMICITY_STEP);
	cr_assert_eq(config.jobs[0].optimizer.momentum, 0.0f);
	cr_assert_eq(config.jobs[0].optimizer.lr, 0.1f);
	cr_assert_eq(config.jobs[1].optimizer.momentum, 0.9f);
	cr_assert_eq(config.jobs[1].optimizer.lr, 1e-3f);
	round_trip(&config);
}

Test(parse, every_optimizer_has_its_keys_and_defaults)
{
	cr_assert_eq(text_parse(NODE_OK PORT_OK ADDRESS_OK
			     "jobs:\n"
			     "- {name: a, id: 1, kind: train, workers: 1, norm_max: 2.5, codec: "
			     "topk_f16,\n"
			     "   topk_ratio: 0.125, optimizer: {\n"
			     "   name: adamw, lr: 0.1, schedule: cosine, schedule_steps: 90,\n"
			     "   warmup_steps: 5, lr_min: 1e-3, delay_compensation: 0.04}}\n"
			     "- {name: b, id: 2, kind: train, workers: 1, optimizer: {\n"
			     "   name: adagrad, lr: 1, initial_accumulator: 0.1}}\n"
			     "- {name: c, id: 3, kind: train, workers: 1, optimizer: {\n"
			     "   name: ftrl, lr: 1, ftrl_beta: 0.5, l1: 2, l2: 3}}\n"
			     "- {name: d, id: 4, kind: train, workers: 1, optimizer: {\n"
			     "   name: adam, lr: 1, beta1: 0.5, beta2: 0.25, epsilon: 1e-6,\n"
			     "   schedule: step, schedule_steps: 7, gamma: 0.5}}\n",
			     &config, err),
		0, "%s", err);
	struct gp_optim_params p = gp_config_optim(&config.jobs[0].optimizer);
	cr_assert_eq(config.jobs[0].norm_max, 2.5f);
	cr_assert(config.jobs[0].codec == GP_CONFIG_CODEC_TOPK_F16 &&
		  config.jobs[0].topk_ratio == 0.125f);
	cr_assert_eq(config.jobs[1].codec, GP_CONFIG_CODEC_F32);
	cr_assert_eq(config.jobs[1].sparse_max, 50);
	cr_assert_eq(p.kind, GP_OPTIM_ADAMW);
	cr_assert(p.weight_decay == 0.01f && p.beta1 == 0.9f && p.beta2 == 0.999f);
	cr_assert(p.epsilon == 1e-8f && p.delay_compensation == 0.04f);
	cr_assert(p.schedule.kind == GP_OPTIM_COSINE && p.schedule.steps == 90 &&
		  p.schedule.warmup_steps == 5 && p.schedule.lr_min == 1e-3f);
	p = gp_config_optim(&config.jobs[1].optimizer);
	cr_assert(p.kind == GP_OPTIM_ADAGRAD && p.epsilon == 1e-10f && p.weight_decay == 0 &&
		  p.initial_accumulator == 0.1f);
	p = gp_config_optim(&config.jobs[2].optimizer);
	cr_assert(p.kind == GP_OPTIM_FTRL && p.ftrl_beta == 0.5f && p.l1 == 2 && p.l2 == 3);
	p = gp_config_optim(&config.jobs[3].optimizer);
	cr_assert(p.kind == GP_OPTIM_ADAM && p.beta1 == 0.5f && p.beta2 == 0.25f);
	cr_assert(p.schedule.kind == GP_OPTIM_STEP && p.schedule.gamma == 0.5f);
	round_trip(&config);
}

Test(parse, every_kind_of_leadership)
{
	static const char server[] = NODE_OK PORT_OK ADDRESS_OK JOBS_OK;
	static const char *const parts[] = {"", "leadership: {kind: none}\n",
		"leadership: {kind: manual, key: p, directory: /d}\n",
		"leadership: {kind: witness, endpoints: [\"10.0.0.3:9793\"], timeout: 50ms, poll: "
		"2s}\n",
		"leadership:\n  kind: etcd\n  endpoints: [\"10.0.0.3:2379\", \"[fd00::4]:2379\"]\n"
		"  tls: {cert: /c, key: /k, ca: /a}\n"
		"replica: {mode: snapshots, peer: \"10.0.0.2:9791\", on_loss: alone,\n"
		"          tls: {cert: /c, key: /k, ca: /a, peer_name: b.example}}\n"};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(parts); i++) {
		char text[2048];
		snprintf(text, sizeof(text), "%s%s", server, parts[i]);
		cr_assert_eq(text_parse(text, &config, err), 0, "%s", err);
		cr_assert_not(gp_config_is_witness(&config));
		round_trip(&config);
	}
	const struct gp_config_leadership *l = &config.leadership;
	cr_assert_eq(l->kind, GP_LEADERSHIP_ETCD);
	cr_assert_eq(l->endpoints_count, 2u);
	cr_assert_str_eq(l->endpoints[1].host, "fd00::4");
	cr_assert_str_eq(l->key, "gradplane");
	cr_assert(l->timeout_us == 200000 && l->poll_us == 1000000);
	cr_assert_str_eq(l->tls.ca, "/a");
	cr_assert_eq(config.replica.on_loss, GP_ON_LOSS_ALONE);
	cr_assert_str_eq(config.replica.tls.peer_name, "b.example");
}

Test(parse, a_witness)
{
	static const char *const texts[] = {
		"node: {name: w}\nwitness: {listen: \"10.0.0.3:9793\", directory: /d}\n",
		"node: {name: w, log_level: debug}\n"
		"witness: {listen: \"[::]:9793\", directory: /d,\n"
		"          tls: {cert: /c, key: /k, ca: /a, peer_name: pair}}\n"};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(texts); i++) {
		cr_assert_eq(text_parse(texts[i], &config, err), 0, "%s", err);
		cr_assert(gp_config_is_witness(&config));
		cr_assert_eq(config.witness.listen.port, 9793);
		round_trip(&config);
	}
	cr_assert_str_eq(config.witness.tls.peer_name, "pair");
}

Test(parse, every_consistency_has_its_keys_and_defaults)
{
	cr_assert_eq(
		text_parse(NODE_OK PORT_OK ADDRESS_OK
			"jobs:\n"
			"- {name: a, id: 1, kind: train, workers: 3, consistency: ssp,\n"
			"   optimizer: {lr: 1}}\n"
			"- {name: b, id: 2, kind: train, workers: 3, consistency: asp,\n"
			"   atomicity: step, optimizer: {lr: 1},\n"
			"   staleness: {max: 7, policy: scale, lr: true}}\n"
			"- {name: c, id: 3, kind: reduce, workers: 3, consistency: quorum,\n"
			"   quorum: {min: 2}, staleness: {policy: refuse}}\n"
			"- {name: d, id: 4, kind: train, workers: 3, consistency: adaptive,\n"
			"   optimizer: {lr: 1}, staleness: {bound_min: 1, max: none},\n"
			"   cuts: {max: 8, age: 20ms}, transport: {rto_min: 1ms, rto_max: 1s}}\n"
			"- {name: e, id: 5, kind: train, workers: 3, consistency: quorum,\n"
			"   workers_min: 2, quorum: {min: 2, wait: 50ms}, optimizer: {lr: 1}}\n",
			&config, err),
		0, "%s", err);
	const struct gp_config_job *j = config.jobs;
	cr_assert_eq(j[0].atomicity, GP_ATOMICITY_BLOCK);
	cr_assert_eq(j[0].staleness.bound, 2);
	cr_assert_eq(j[0].staleness.max, GP_CONFIG_UNSET);
	cr_assert_eq(j[0].cuts.max, 4);
	cr_assert_not(j[0].deterministic);
	cr_assert_eq(j[1].atomicity, GP_ATOMICITY_STEP);
	cr_assert_eq(j[1].staleness.max, 7);
	cr_assert_eq(j[1].staleness.policy, GP_STALENESS_SCALE);
	cr_assert(j[1].staleness.lr);
	cr_assert_eq(j[2].atomicity, GP_ATOMICITY_STEP);
	cr_assert_eq(j[2].quorum.wait_us, GP_CONFIG_UNSET);
	cr_assert_eq(j[2].staleness.policy, GP_STALENESS_REFUSE);
	cr_assert_eq(j[3].staleness.bound, 8);
	cr_assert_eq(j[3].staleness.bound_min, 1);
	cr_assert_eq(j[3].cuts.age_us, 20000);
	cr_assert_eq(j[3].transport.rto_min_us, 1000);
	cr_assert_eq(j[3].transport.rto_max_us, 1000000);
	cr_assert_eq(j[4].quorum.wait_us, 50000);
	round_trip(&config);
}

// Every key at once, each with a value that is not its default.
static const char every_key[] =
	"node: {name: n, id: 1, role: primary, insecure: true, log_level: debug}\n"
	"eal: {hugepages: off, memory: 3GiB, lcores: '0@0,1@1', file_prefix: fp,\n"
	"  extra_args: [--log-level=8, 'with \"quotes\" and \\']}\n"
	"port: {driver: pci, device: '0000:3b:00.0', devargs: a=b, mtu: 9000, rx_descriptors: "
	"512,\n"
	"  tx_descriptors: 256, mbufs: 8191, steering: off, mac: '02:00:00:00:00:0A'}\n"
	"address: {ipv4: 10.0.0.1/24, ipv6: ['fd00::1/64', 'FE80:0::2/10']}\n"
	"cores: {count: 32, udp_port: 1024, poll: busy, burst: 8, idle_sleep_max: 1ms, ring_size: "
	"64}\n"
	"control: {socket: /s, http: '[::1]:1'}\n"
	"snapshot: {directory: /d, interval_steps: 7, keep: 1, full_every: 3, compression: zstd,\n"
	"  compression_level: 19, memory_max: 25, on_full: abort, restore: /d/old}\n"
	"replica: {mode: snapshots, peer: '[fd00::2]:65535'}\n"
	"limits: {sessions: 1024}\n"
	"jobs: [{name: j, id: 64, kind: train, workers: 256, workers_min: 256, mean: false,\n"
	"  atomicity: block, consistency: bsp, deterministic: false,\n"
	"  transport: {rto_min: 2ms, rto_max: 3ms},\n"
	"  optimizer: {name: momentum, lr: 0.3, momentum: 0.5, weight_decay: 1.5e-05},\n"
	"  memory_max: 1536KiB, slots: 2, window: 1, worker_timeout: 1500ms, path_mtu_min: 576,\n"
	"  tensors_max: 131072, views_log: /var/views}]\n";

Test(parse, every_key)
{
	cr_assert_eq(text_parse(every_key, &config, err), 0, "%s", err);
	cr_assert_eq(config.node.log_level, 3);
	cr_assert_eq(config.eal.hugepages, GP_HUGEPAGES_OFF);
	cr_assert_eq(config.eal.memory, UINT64_C(3) << 30);
	cr_assert_eq(config.eal.extra_args_count, 2);
	cr_assert_str_eq(config.eal.extra_args[1], "with \"quotes\" and \\");
	cr_assert(config.port.mac_present);
	cr_assert_eq(config.port.mac[5], 0x0a);
	cr_assert_eq(config.address.ipv6_count, 2);
	cr_assert_eq(config.address.ipv6[1].prefix, 10);
	cr_assert_eq(config.address.ipv6[1].addr[0], 0xfe);
	cr_assert_eq(config.cores.idle_sleep_max_us, 1000);
	cr_assert_str_eq(config.control.http.host, "::1");
	cr_assert_eq(config.snapshot.memory_max, 25u);
	cr_assert_eq(config.snapshot.on_full, GP_ON_FULL_ABORT);
	cr_assert_eq(config.snapshot.full_every, 3u);
	cr_assert_eq(config.snapshot.compression, GP_COMPRESSION_ZSTD);
	cr_assert_eq(config.snapshot.restore, GP_RESTORE_PATH);
	cr_assert_str_eq(config.snapshot.restore_path, "/d/old");
	cr_assert_eq(config.jobs[0].memory_max, 1536u << 10);
	cr_assert_eq(config.jobs[0].worker_timeout_us, 1500000);
	cr_assert_eq(config.jobs[0].path_mtu_min, 576);
	cr_assert_not(config.jobs[0].mean);
	round_trip(&config);
}

Test(parse, all_64_jobs)
{
	char text[8192] = NODE_OK PORT_OK ADDRESS_OK "jobs:\n";
	for (int i = 0; i < 64; i++) {
		size_t n = strlen(text);
		snprintf(text + n, sizeof(text) - n,
			"- {name: j%d, id: %d, kind: reduce, workers: 1}\n", i, 64 - i);
	}
	cr_assert_eq(text_parse(text, &config, err), 0, "%s", err);
	cr_assert_eq(config.jobs_count, 64);
	cr_assert_eq(config.jobs[63].id, 1);
	round_trip(&config);
}

Test(parse, longest_text_with_every_character_escaped)
{
	char text[2048] = ALL_OK "eal: {extra_args: ['";
	size_t n = strlen(text);
	memset(text + n, '"', GP_CONFIG_TEXT_SIZE - 1);
	memcpy(text + n + GP_CONFIG_TEXT_SIZE - 1, "']}\n", 5);
	cr_assert_eq(text_parse(text, &config, err), 0, "%s", err);
	cr_assert_eq(strlen(config.eal.extra_args[0]), GP_CONFIG_TEXT_SIZE - 1);
	round_trip(&config);
}

Test(parse, text_needs_no_terminator)
{
	size_t len = strlen(ALL_OK);
	char *text = malloc(len);
	cr_assert(text);
	for (size_t i = 0; i < len; i++)
		text[i] = ALL_OK[i];
	cr_assert_eq(gp_config_parse("t", text, len, &config, err, sizeof(err)), 0, "%s", err);
	free(text);
}

Test(parse, float_prints_as_written)
{
	char *text = NULL;
	size_t len = 0;
	cr_assert_eq(text_parse(every_key, &config, err), 0, "%s", err);
	FILE *f = open_memstream(&text, &len);
	gp_config_print(f, &config);
	fclose(f);
	cr_assert(strstr(text, "      lr: 0.3\n"), "%s", text);
	cr_assert(strstr(text, "  - name: \"j\"\n"), "%s", text);
	cr_assert(strstr(text, "    memory_max: 1536KiB\n"), "%s", text);
	free(text);
}

Test(load, every_file_in_conf)
{
	DIR *dir = opendir(GP_CONF_DIR);
	uint32_t count = 0;
	cr_assert(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		char path[512];
		size_t len = strlen(e->d_name);
		if (len < 6 || strcmp(e->d_name + len - 5, ".yaml") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", GP_CONF_DIR, e->d_name);
		cr_expect_eq(gp_config_load(path, &config, err, sizeof(err)), 0, "%s", err);
		round_trip(&config);
		count++;
	}
	closedir(dir);
	cr_assert_geq(count, 4);
}

Test(load, demonstration_pair_fits_together)
{
	static struct gp_config replica;
	cr_assert_eq(gp_config_load(GP_CONF_DIR "/primary.yaml", &config, err, sizeof(err)), 0);
	cr_assert_eq(gp_config_load(GP_CONF_DIR "/replica.yaml", &replica, err, sizeof(err)), 0);
	cr_assert_eq(config.replica.peer.port, replica.replica.listen.port);
	cr_assert_str_neq(config.port.device, replica.port.device);
	cr_assert_str_neq(config.eal.file_prefix, replica.eal.file_prefix);
	cr_assert_str_neq(config.control.socket, replica.control.socket);
	cr_assert_neq(config.control.http.port, replica.control.http.port);
	cr_assert_neq(config.node.id, replica.node.id);
}

Test(load, missing_file_is_named)
{
	int rc = gp_config_load("/nonexistent/x.yaml", &config, err, sizeof(err));
	cr_assert_eq(rc, -ENOENT);
	cr_assert_str_eq(err, "/nonexistent/x.yaml: cannot be read: No such file or directory");
	cr_assert_eq(gp_config_load("/", &config, err, sizeof(err)), -EISDIR);
}
