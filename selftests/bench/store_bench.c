// SPDX-License-Identifier: GPL-2.0
/*
 * store_bench - What stores, copies and loads cost in memory that is not cacheable
 *
 * The same code in the host and in a guest, on a write-combine mapping of a BAR that
 * BAR=<bdf>:<index> names (0000:01:00.0:2; it is written over), with a Device mapping of
 * it beside, and on a buffer of the carve-out pool that CARVEOUT_POOL names. The guest's
 * stage 1 is what its driver would have, Normal-NC or Device-nGnRE. Both run on one CPU,
 * by turns, so that neither has the better frequency.
 *
 * The columns: MB/s, of MT_REPEAT passes over a block the best and the median, in the host
 * and in the guest; the ratio of the medians, guest to host, for which 0.98 is the goal;
 * then medians and ratio of the Device mapping. A pass ends with a DSB: what is measured
 * is when the stores have left the CPU, not when the device has them. "-" is what a type,
 * or a guest, cannot: DC ZVA on Device memory is an alignment fault, and a guest has no
 * libc. The source of a copy is cacheable.
 *
 * Where vfio-pci has no memory types, the BAR's mappings are those of sysfs. A KVM without
 * KVM_MEM_NONCACHEABLE makes these Device for the guest: then the ratio says what that
 * costs, and is not compared with the goal.
 *
 * What one has written the other has to read, each instruction of each side, in each
 * mapping. That is all that can fail; but with MT_RATIO=0.98 so does a ratio below that.
 * In an emulator the figures mean nothing.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pass.h"
#include "processor.h"
#include "targets.h"

#define GOAL		0.98
#define BLOCK		PASS_MAX
/* Mapped, for blocks at stage 2 where the page size has such */
#define SIZE		SZ_2M
#define REPEAT		100
#define MAX_REPEAT	10000

enum { HOST, GUEST, NR_SIDES };

static const struct {
	const char *name;
	enum pass_op op;
	bool load;
	bool nc_only;		/* not on Device memory */
	bool host_only;
} ops[] = {
	{ "store 1 (strb)", PASS_STORE_1 },
	{ "store 2 (strh)", PASS_STORE_2 },
	{ "store 4 (str w)", PASS_STORE_4 },
	{ "store 8 (str x)", PASS_STORE_8 },
	{ "store 16 (stp x)", PASS_STORE_16 },
	{ "store 32 (stp q), memset", PASS_STORE_32 },
	{ "store 64 (st1 x4)", PASS_STORE_64 },
	{ "memset 0 (dc zva)", PASS_ZERO, .nc_only = true },
	{ "memcpy (ldp, stp)", PASS_COPY },
	{ "memcpy (libc)", PASS_COPY_LIBC, .nc_only = true, .host_only = true },
	{ "load 8 (ldr x)", PASS_LOAD_8, .load = true },
	{ "load 16 (ldp x)", PASS_LOAD_16, .load = true },
	{ "load 32 (ldp q)", PASS_LOAD_32, .load = true },
};

/* Some memory by one type */
struct mapping {
	void *hva;
	u64 block;
	bool nc[NR_SIDES];	/* what the host, and what the guest has, is Normal-NC */
	struct pass_guest guest;
};

static unsigned int repeat;

static void mapping_open(struct mapping *m, void *hva, u64 size, u32 flags, bool nc)
{
	m->hva = hva;
	m->block = min_t(u64, size, BLOCK) & ~(PASS_UNIT - 1);
	m->nc[HOST] = nc;
	m->nc[GUEST] = nc;
	m->guest = pass_guest_create(size, nc ? MT_NORMAL_NC : MT_DEVICE_nGnRE);
	MT_EXPECT_ERRNO(mt_set_slot(m->guest.vm, flags, MT_GPA, size, hva), 0);
}

static struct pass run(struct mapping *m, int side, u64 op, u64 val, bool timed)
{
	struct pass pass = {
		.op = op, .addr = side == HOST ? (u64)m->hva : 0, .size = m->block,
		.line = pass_line(), .val = val, .timed = timed,
	};

	if (side == HOST)
		pass_in_host(&pass);
	else
		pass_in_guest(&m->guest, &pass);
	return pass;
}

static bool can(const struct mapping *m, int side, int i)
{
	if (ops[i].op == PASS_ZERO && !pass_has_zva())
		return false;
	return !(ops[i].nc_only && !m->nc[side]) && !(ops[i].host_only && side == GUEST);
}

/* Of what a store writes all bytes are the same */
static u64 pattern(u64 op, u64 seed)
{
	return op == PASS_ZERO ? 0 : seed * 0x0101010101010101;
}

/* One side does it, and both have to find it */
static void verify(struct mapping *m, int side, int i, u64 seed)
{
	bool copy = ops[i].op == PASS_COPY || ops[i].op == PASS_COPY_LIBC;
	u64 before = seed + 1;
	struct pass pass;
	int reader;

	run(m, !side, PASS_FILL, before, false);
	pass = run(m, side, ops[i].op, copy ? seed : pattern(ops[i].op, seed), false);
	if (ops[i].load) {
		TEST_ASSERT(pass.val == pass_sum(before, m->block),
			    "%s by the %s: the sum is %#lx and not %#lx", ops[i].name,
			    side == HOST ? "host" : "guest", (unsigned long)pass.val,
			    (unsigned long)pass_sum(before, m->block));
		return;
	}
	for (reader = HOST; reader < NR_SIDES; reader++) {
		pass = run(m, reader, copy ? PASS_CHECK : PASS_CHECK_SAME,
			   copy ? seed : pattern(ops[i].op, seed), false);
		TEST_ASSERT(!pass.wrong, "%s by the %s, read by the %s: %lu lines wrong",
			    ops[i].name, side == HOST ? "host" : "guest",
			    reader == HOST ? "host" : "guest", (unsigned long)pass.wrong);
	}
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* 0 is none */
struct figure {
	double best;
	double median;
};

static void measure(struct mapping *m, int i, struct figure figures[NR_SIDES])
{
	static u64 ticks[NR_SIDES][MAX_REPEAT];
	double bytes = m->block * pass_frequency() / 1e6;
	unsigned int r;
	int side;

	for (side = HOST; side < NR_SIDES; side++) {
		figures[side] = (struct figure) { };
		if (can(m, side, i))
			verify(m, side, i, 2 * i + side + 1);
	}
	for (r = 0; r < repeat; r++)
		for (side = HOST; side < NR_SIDES; side++)
			if (can(m, side, i))
				ticks[side][r] = run(m, side, ops[i].op, r, true).ticks;
	for (side = HOST; side < NR_SIDES; side++) {
		if (!can(m, side, i))
			continue;
		qsort(ticks[side], repeat, sizeof(u64), compare);
		figures[side].best = bytes / max_t(u64, ticks[side][0], 1);
		figures[side].median = bytes / max_t(u64, ticks[side][repeat / 2], 1);
	}
}

static void cell(char *buf, size_t size, const char *fmt, double val)
{
	if (val)
		snprintf(buf, size, fmt, val);
	else
		snprintf(buf, size, "-");
}

static double ratio(const struct figure *f)
{
	return f[HOST].median ? f[GUEST].median / f[HOST].median : 0;
}

/* The smallest ratio, of the first mapping; the second one can be NULL */
static double table(const char *what, struct mapping *m, struct mapping *device)
{
	struct figure f[NR_SIDES], d[NR_SIDES];
	double lowest = 0;
	char c[8][16];
	int i, j;

	ksft_print_msg("%s, blocks of %lu bytes, %u passes, MB/s\n", what,
		       (unsigned long)m->block, repeat);
	ksft_print_msg("%-26s %17s %17s %6s%s\n", "", "host", "guest", "guest",
		       device ? "    as Device  guest" : "");
	ksft_print_msg("%-26s %8s %8s %8s %8s %6s%s\n", "", "best", "median", "best",
		       "median", "/host", device ? "    host   guest /host" : "");
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		measure(m, i, f);
		for (j = HOST; j < NR_SIDES; j++) {
			cell(c[2 * j], sizeof(c[0]), "%.1f", f[j].best);
			cell(c[2 * j + 1], sizeof(c[0]), "%.1f", f[j].median);
		}
		cell(c[4], sizeof(c[0]), "%.3f", ratio(f));
		if (device) {
			measure(device, i, d);
			cell(c[5], sizeof(c[0]), "%.1f", d[HOST].median);
			cell(c[6], sizeof(c[0]), "%.1f", d[GUEST].median);
			cell(c[7], sizeof(c[0]), "%.3f", ratio(d));
			ksft_print_msg("%-26s %8s %8s %8s %8s %6s %8s %8s %6s\n", ops[i].name,
				       c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]);
		} else {
			ksft_print_msg("%-26s %8s %8s %8s %8s %6s\n", ops[i].name, c[0], c[1],
				       c[2], c[3], c[4]);
		}
		if (ratio(f) && (!lowest || ratio(f) < lowest))
			lowest = ratio(f);
	}
	return lowest;
}

FIXTURE(bench)
{
	double lowest;
};

FIXTURE_SETUP(bench)
{
	cpu_set_t cpus;

	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	repeat = min_t(unsigned int, max_t(unsigned int, mt_number("MT_REPEAT", REPEAT), 1),
		       MAX_REPEAT);
	/* Not all CPUs of a machine need be alike */
	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	ASSERT_EQ(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
	if (pass_emulated())
		ksft_print_msg("emulated: figures mean nothing\n");
}

FIXTURE_TEARDOWN(bench)
{
	const char *wanted = getenv("MT_RATIO");
	double goal = wanted ? strtod(wanted, NULL) : GOAL;

	if (pass_emulated() || !self->lowest)
		return;
	ksft_print_msg("the smallest ratio is %.3f, the goal %.3f\n", self->lowest, goal);
	if (self->lowest >= goal)
		return;
	if (wanted) {
		EXPECT_TRUE(self->lowest >= goal);
		return;
	}
	snprintf(_metadata->results->reason, sizeof(_metadata->results->reason),
		 "a ratio of %.3f is below %.3f", self->lowest, goal);
	_metadata->exit_code = KSFT_XFAIL;
}

/* KVM_MEM_NONCACHEABLE, or nothing where there is no such flag */
static u32 noncacheable(void)
{
	return kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE) ? KVM_MEM_NONCACHEABLE : 0;
}

TEST_F_TIMEOUT(bench, bar, 1800)
{
	struct mapping nc = { }, device = { };
	struct bar_target bar;
	char what[96];
	double lowest;

	bar_target_open(&bar, SIZE);
	snprintf(what, sizeof(what), "%s BAR %d, write-combine by %s", bar.bdf, bar.index,
		 bar.vfio ? "vfio-pci" : "sysfs");
	mapping_open(&nc, bar.wc, bar.size, noncacheable(), true);
	mapping_open(&device, bar.device, bar.size, 0, false);
	/*
	 * KVM takes the type from the host's mapping with the series 1-pfnmap; else this
	 * is a device's memory without vfio's grant, and Device at stage 2.
	 */
	if (mt_no_series(MT_PFNMAP)) {
		nc.nc[GUEST] = false;
		ksft_print_msg("this KVM makes it Device for the guest: types are compared\n");
	}
	lowest = table(what, &nc, &device);
	if (nc.nc[GUEST] || getenv("MT_RATIO"))
		self->lowest = lowest;
	pass_guest_free(&nc.guest);
	pass_guest_free(&device.guest);
	bar_target_close(&bar);
}

TEST_F_TIMEOUT(bench, carveout, 1800)
{
	struct mapping nc = { };
	void *hva;

	hva = pool_target_map(SIZE);
	mapping_open(&nc, hva, SIZE, noncacheable(), true);
	self->lowest = table("a buffer of the carve-out", &nc, NULL);
	pass_guest_free(&nc.guest);
	munmap(hva, SIZE);
}

int main(int argc, char **argv)
{
	bar_target_keep();
	return test_harness_run(argc, argv);
}
