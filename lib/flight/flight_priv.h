// SPDX-License-Identifier: BSD-3-Clause
//
// Layout of cells and of the file.
//
//	first cell	u64 now, u64 what, u64 clock, 104 bytes
//	others		u64 now, u64 what, 112 bytes
//	what		kind (0: continues), verdict << 8, cells of the record << 16, bytes kept <<
// 32, 			length of the thing << 48
#ifndef FLIGHT_PRIV_H
#define FLIGHT_PRIV_H

#include <gp_flight.h>

#define CELL_WORDS (GP_FLIGHT_CELL / 8)
#define KIND_MORE  0

#define FILE_MAGIC	UINT64_C(0x4452434552504701) // "\1GPRECRD"
#define FILE_HEADER	64
#define SECTION_HEADER	16
#define RING_HEADER	32 // first, count, cells of the ring, and behind them: cells begun by then
#define FILE_SIZE_LEAST (FILE_HEADER + SECTION_HEADER + 8)

static inline uint32_t cells_of(uint32_t kept)
{
	if (kept <= GP_FLIGHT_FIRST_BYTES)
		return 1;
	return 1 + (kept - GP_FLIGHT_FIRST_BYTES + GP_FLIGHT_MORE_BYTES - 1) / GP_FLIGHT_MORE_BYTES;
}

#endif
