// SPDX-License-Identifier: BSD-3-Clause
//
// The parts of the configuration that say who leads a pair and how its nodes know each other. Part
// of gp_config.h, which see.
#ifndef GP_CONFIG_LEAD_H
#define GP_CONFIG_LEAD_H

#include <gp_base.h>

#define GP_CONFIG_LEAD_ENDPOINTS_MAX 5

enum gp_leadership {
	GP_LEADERSHIP_NONE,
	GP_LEADERSHIP_MANUAL,
	GP_LEADERSHIP_WITNESS,
	GP_LEADERSHIP_ETCD
};
enum gp_replica_mode { GP_REPLICA_NONE, GP_REPLICA_SNAPSHOTS, GP_REPLICA_SYNC };
enum gp_on_loss { GP_ON_LOSS_WAIT, GP_ON_LOSS_ALONE };

// A TCP end: numeric host without brackets ("127.0.0.1", "::1"). Not given or "off": port 0.
struct gp_config_endpoint {
	char host[48];
	uint16_t port;
};

// PEM files. Not given: all empty.
struct gp_config_tls {
	char cert[256], key[256], ca[256];
	char peer_name[256]; // in the peer's certificate; empty: the address that is asked
};

struct gp_config_replica {
	enum gp_replica_mode mode;
	struct gp_config_endpoint listen; // snapshots: role replica; sync: one node of the pair
	struct gp_config_endpoint peer;	  // snapshots: role primary; sync: the other node
	uint32_t timeout_us;		  // sync: a peer silent for so long is taken for dead
	uint32_t lag_max;		  // snapshots: steps, 0 = any number
	enum gp_on_loss on_loss;	  // role primary: wait for it, or go on alone
	struct gp_config_tls tls;
};

struct gp_config_leadership {
	enum gp_leadership kind;
	char key[64];
	uint32_t endpoints_count;
	struct gp_config_endpoint endpoints[GP_CONFIG_LEAD_ENDPOINTS_MAX];
	char directory[256]; // manual
	uint32_t timeout_us; // for the answer of one endpoint
	uint32_t poll_us;    // how often the record is read
	struct gp_config_tls tls;
};

// A file with this part configures a witness and nothing else. Not given: port 0.
struct gp_config_witness {
	struct gp_config_endpoint listen;
	char directory[256];
	struct gp_config_tls tls;
};

#endif
