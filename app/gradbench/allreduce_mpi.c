// SPDX-License-Identifier: BSD-3-Clause
//
// allreduce_mpi SIZES: gradbench allreduce with MPI_Allreduce, to compare with. Built where there
// is an mpicc; scripts/bench-peers runs it.
#include "allreduce.h"

#include <mpi.h>

static double us[ALLREDUCE_TIMES_MAX];

static bool size_run(const struct allreduce_size *s, float *own, float *sum, int rank, int world)
{
	uint32_t warm = allreduce_warm(s);
	allreduce_fill(own, s->bytes, (uint32_t)rank);
	for (uint32_t i = 0; i < warm + s->times; i++) {
		MPI_Barrier(MPI_COMM_WORLD);
		double from = allreduce_now_us();
		MPI_Allreduce(own, sum, (int)(s->bytes / sizeof(float)), MPI_FLOAT, MPI_SUM,
			MPI_COMM_WORLD);
		if (i >= warm)
			us[i - warm] = allreduce_now_us() - from;
	}
	return allreduce_good(sum, s->bytes, (uint32_t)world);
}

int main(int argc, char **argv)
{
	struct allreduce_size sizes[ALLREDUCE_SIZES_MAX];
	uint32_t n = argc == 2 ? allreduce_sizes(argv[1], sizes) : 0;
	if (n == 0) {
		fprintf(stderr, "usage: allreduce_mpi BYTESxTIMES,...\n");
		return 2;
	}
	int rank, world;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &world);
	uint64_t most = 0;
	for (uint32_t i = 0; i < n; i++)
		most = sizes[i].bytes > most ? sizes[i].bytes : most;
	float *own = malloc(most), *sum = malloc(most);
	bool good = own && sum;
	if (good && rank == 0)
		printf("{\"bench\":\"allreduce\",\"how\":\"mpi\",\"rows\":[");
	for (uint32_t i = 0; i < n && good; i++) {
		good = size_run(&sizes[i], own, sum, rank, world);
		if (good && rank == 0)
			allreduce_row(&sizes[i], us, i == 0);
	}
	if (good && rank == 0)
		printf("],\"sums\":\"checked\"}\n");
	if (!good)
		MPI_Abort(MPI_COMM_WORLD, 1);
	free(own);
	free(sum);
	MPI_Finalize();
	return 0;
}
