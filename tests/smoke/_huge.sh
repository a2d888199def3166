# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Huge pages of 2 MiB for the DPDK processes of a run. What the run changed is put back at its end.

HUGETLB_DIR=/dev/hugepages
HUGEPAGES=/sys/kernel/mm/hugepages/hugepages-2048kB
HUGEPAGES_BEFORE='' HUGETLB_MOUNTED=0

hugetlb_mount() {
	! grep -q ' hugetlbfs ' /proc/mounts || return 0
	mkdir -p "$HUGETLB_DIR" && mount -t hugetlbfs -o pagesize=2M hugetlbfs "$HUGETLB_DIR" || return 1
	HUGETLB_MOUNTED=1
}

# hugepages_reserve COUNT: at least so many are free afterwards, else false.
hugepages_reserve() {
	local have
	have=$(cat "$HUGEPAGES/free_hugepages" 2>/dev/null) || return 1
	if [ "$have" -lt "$1" ]; then
		HUGEPAGES_BEFORE=$(<"$HUGEPAGES/nr_hugepages")
		echo $((HUGEPAGES_BEFORE + $1 - have)) 2>/dev/null >"$HUGEPAGES/nr_hugepages" || return 1
	fi
	hugetlb_mount 2>/dev/null || return 1
	[ "$(<"$HUGEPAGES/free_hugepages")" -ge "$1" ]
}

# After the processes have ended: also what a killed one leaves, by the file prefixes of this run.
hugepages_restore() {
	rm -rf "/var/run/dpdk/$GP_RUN"*
	rm -f "$HUGETLB_DIR/$GP_RUN"*map_*
	[ "$HUGETLB_MOUNTED" = 0 ] || umount "$HUGETLB_DIR"
	[ -z "$HUGEPAGES_BEFORE" ] || echo "$HUGEPAGES_BEFORE" >"$HUGEPAGES/nr_hugepages"
}
