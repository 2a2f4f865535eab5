// SPDX-License-Identifier: GPL-2.0
/*
 * s2_blobs - One memslot, many blobs, replaced while vCPUs write
 *
 * VMMs give a guest a window for blobs of a GPU: one memslot over reserved address
 * space, into which they map, with MAP_FIXED, memory of all kinds: shared memory, VRAM
 * that its driver maps write-combine, registers. Each page must have the type of its
 * own host mapping, whatever was there before and whatever is beside it, and no
 * KVM_RUN may fail where the host's mapping is in order, however often it is replaced
 * meanwhile. The same within a mapping whose driver moves pages between VRAM and
 * system memory.
 *
 * MT_ROUNDS= replacements are made, in an order that MT_SEED= gives.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <linux/kvm_memtype.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"

#define PIECE_PAGES	16
#define PIECE		(PIECE_PAGES * MT_PAGE)
#define NR_PIECES	32
#define SIZE		(NR_PIECES * PIECE)
#define NR_VCPUS	2
#define BETWEEN_US	50
/* Replacements between two looks at all that there is */
#define ROUNDS_A_LOOK	250

/* What there is to put into the window; it has one buffer of each for each piece */
static const struct blob {
	const char *name;
	const char *type;	/* NULL: the guest's access is refused */
	struct memtype_test_config config;
	bool flag;		/* in order in a flagged slot, too */
} blobs[] = {
#define BLOB(_name, _type, _vma, _pte, _flags, _flag)				\
	{ _name, _type, { .vma_type = MEMTYPE_TEST_##_vma,			\
			  .pte_type = MEMTYPE_TEST_##_pte, .flags = _flags }, _flag }
	{ "nothing" },
	{ "memfd", S2_WB },
	BLOB("NC in a WB VMA", S2_NC, WB, NC, 0, true),
	BLOB("NC", S2_NC, NC, NC, MEMTYPE_TEST_GRANT, true),
	BLOB("Device", S2_DEVICE, DEVICE, DEVICE, 0, false),
	BLOB("NC over RAM", S2_NC, NC, NC, MEMTYPE_TEST_RAM, false),
};

#define NOTHING		0
#define MEMFD		1
#define NC_IN_WB	2

static struct window {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	u32 slot_flags;
	bool one_piece;		/* everybody is at the same one, all the time */
	void *hva;
	int fds[ARRAY_SIZE(blobs)];
	/* Which blob a piece has, and how often it had one that is out of order */
	struct {
		unsigned int blob;
		unsigned int outs;
	} pieces[NR_PIECES];
	pthread_barrier_t barrier;
	bool stop;
	bool pause;
	/* Of each vCPU */
	struct {
		u64 runs;
		u64 refused;
		u64 failed;
		char first[160];	/* the first that should not have failed */
	} vcpu[NR_VCPUS];
} w;

static bool in_order(unsigned int blob)
{
	if (w.slot_flags & KVM_MEM_NONCACHEABLE)
		return blobs[blob].flag;
	return blobs[blob].type;
}

static void put(int piece, unsigned int blob)
{
	void *at = w.hva + piece * PIECE, *got;

	if (!in_order(blob)) {
		__atomic_store_n(&w.pieces[piece].blob, blob, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&w.pieces[piece].outs, 1, __ATOMIC_SEQ_CST);
	}
	if (blob == NOTHING)
		got = mmap(at, PIECE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	else
		got = mmap(at, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			   w.fds[blob],
			   blobs[blob].config.flags & MEMTYPE_TEST_RAM ? 0 : piece * PIECE);
	TEST_ASSERT(got == at, "Piece %d, %s: %s", piece, blobs[blob].name, strerror(errno));
	__atomic_store_n(&w.pieces[piece].blob, blob, __ATOMIC_SEQ_CST);
}

/*
 * One piece after the other. A failure is right if the piece has been out of order at
 * any time since before the access: put() says that it is, and counts, before it maps
 * such a blob, and says that it is not after it has mapped another. The count is read
 * first, so that who has seen it counted sees what has been said as well.
 */
static void *write_pieces(void *arg)
{
	long i = (long)arg;
	struct mt_result r;
	u64 n;

	for (n = i * 7; !READ_ONCE(w.stop); n++) {
		int piece = w.one_piece ? 0 : n * 13 % NR_PIECES;
		unsigned int outs, before;

		if (READ_ONCE(w.pause)) {
			pthread_barrier_wait(&w.barrier);
			pthread_barrier_wait(&w.barrier);
			continue;
		}
		outs = __atomic_load_n(&w.pieces[piece].outs, __ATOMIC_SEQ_CST);
		before = __atomic_load_n(&w.pieces[piece].blob, __ATOMIC_SEQ_CST);
		r = mt_access(w.vcpus[i], MT_FILL, MT_GPA + piece * PIECE, PIECE_PAGES);
		w.vcpu[i].runs++;
		if (!r.run_errno && !r.exit_reason && !r.esr)
			continue;
		if (r.run_errno == EFAULT &&
		    (!in_order(before) ||
		     outs != __atomic_load_n(&w.pieces[piece].outs, __ATOMIC_SEQ_CST))) {
			w.vcpu[i].refused++;
			continue;
		}
		if (!w.vcpu[i].failed++)
			snprintf(w.vcpu[i].first, sizeof(w.vcpu[i].first),
				 "piece %d, %s before, %s after: %s", piece,
				 blobs[before].name, blobs[w.pieces[piece].blob].name,
				 mt_outcome(&r));
	}
	return NULL;
}

/* Nobody else is there: what is mapped has its own type, and is the right memory */
static void look(void)
{
	struct s2_range *ranges;
	size_t nr, i;
	int p;

	for (p = 0; p < NR_PIECES; p++) {
		const struct blob *blob = &blobs[w.pieces[p].blob];
		u64 gpa = MT_GPA + p * PIECE, mapped = 0;
		struct mt_result r;

		r = mt_access(w.vcpus[p % NR_VCPUS], MT_FILL, gpa, PIECE_PAGES);
		if (!in_order(w.pieces[p].blob)) {
			MT_EXPECT_ERRNO(r.run_errno, EFAULT);
			TEST_ASSERT(!s2_count(w.vm, gpa, PIECE, 0), "Piece %d, %s: mapped", p,
				    blob->name);
			continue;
		}
		TEST_ASSERT(!r.run_errno && !r.exit_reason && !r.esr, "Piece %d, %s: %s", p,
			    blob->name, mt_outcome(&r));
		nr = s2_dump(w.vm, gpa, PIECE, &ranges);
		for (i = 0; i < nr; i++) {
			TEST_ASSERT(s2_type_is(&ranges[i], blob->type),
				    "Piece %d, %s: %#lx-%#lx is '%s', expected '%s'", p,
				    blob->name, (unsigned long)ranges[i].start,
				    (unsigned long)ranges[i].end, ranges[i].type, blob->type);
			mapped += ranges[i].end - ranges[i].start;
		}
		free(ranges);
		TEST_ASSERT(mapped == PIECE, "Piece %d, %s: %#lx bytes are mapped", p,
			    blob->name, (unsigned long)mapped);
		for (i = 0; i < PIECE_PAGES; i++)
			TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(w.hva + p * PIECE + i * MT_PAGE)), i);
		if (w.pieces[p].blob != MEMFD)
			for (i = 0; i < PIECE_PAGES; i++)
				TEST_ASSERT_EQ(host_pte(w.hva + p * PIECE + i * MT_PAGE).type,
					       blob->config.pte_type);
	}
}

/* The window has nothing but @first to begin with */
static void replace_under_writers(u32 slot_flags, unsigned int first,
				  const unsigned int *choice, int nr)
{
	unsigned int rounds = mt_number("MT_ROUNDS", 4000), seed = mt_seed();
	u64 runs = 0, refused = 0, failed = 0;
	pthread_t threads[NR_VCPUS];
	unsigned int round;
	long i;

	mt_require_pfnmap();
	ksft_print_msg("MT_ROUNDS=%u MT_SEED=%u\n", rounds, seed);
	srandom(seed);
	w.slot_flags = slot_flags;
	w.vm = mt_vm_create_vcpus(w.vcpus, NR_VCPUS, SIZE, NULL);
	w.fds[MEMFD] = memfd_create("s2_blobs", 0);
	TEST_ASSERT(w.fds[MEMFD] >= 0 && !ftruncate(w.fds[MEMFD], SIZE), "memfd: %s",
		    strerror(errno));
	for (i = MEMFD + 1; i < ARRAY_SIZE(blobs); i++) {
		struct memtype_test_config config = blobs[i].config;

		/* Nobody shares memory with another, of another type */
		if (!(config.flags & MEMTYPE_TEST_RAM))
			config.offset = i * SIZE;
		w.fds[i] = mt_test_open(&config);
	}
	w.hva = mt_mmap(-1, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	for (i = 0; i < NR_PIECES; i++)
		put(i, first);
	MT_EXPECT_ERRNO(mt_set_slot(w.vm, slot_flags, MT_GPA, SIZE, w.hva), 0);
	look();

	pthread_barrier_init(&w.barrier, NULL, NR_VCPUS + 1);
	for (i = 0; i < NR_VCPUS; i++)
		pthread_create(&threads[i], NULL, write_pieces, (void *)i);
	for (round = 1; round <= rounds; round++) {
		put(w.one_piece ? 0 : random() % NR_PIECES, choice[random() % nr]);
		/* On two CPUs, three threads have to take turns */
		if (!w.one_piece)
			usleep(BETWEEN_US);
		if (round % ROUNDS_A_LOOK && round != rounds)
			continue;
		WRITE_ONCE(w.pause, true);
		pthread_barrier_wait(&w.barrier);
		WRITE_ONCE(w.pause, false);
		look();
		if (round == rounds)
			WRITE_ONCE(w.stop, true);
		pthread_barrier_wait(&w.barrier);
	}
	for (i = 0; i < NR_VCPUS; i++) {
		pthread_join(threads[i], NULL);
		runs += w.vcpu[i].runs;
		refused += w.vcpu[i].refused;
		failed += w.vcpu[i].failed;
	}
	ksft_print_msg("%u replacements, %lu runs, %lu of them refused as they had to be\n", rounds,
		       (unsigned long)runs, (unsigned long)refused);
	for (i = 0; i < NR_VCPUS; i++)
		if (w.vcpu[i].failed)
			ksft_print_msg("vCPU %ld: %s\n", i, w.vcpu[i].first);
	TEST_ASSERT(!failed, "%lu runs failed on a mapping that was in order",
		    (unsigned long)failed);
	TEST_ASSERT(runs - refused > rounds / 100, "Too few runs");
	kvm_vm_free(w.vm);
}

/* Longer than the harness allows by itself: all of this runs in an emulator */
FIXTURE(blobs) {
};

FIXTURE_SETUP(blobs)
{
	MT_SKIP_TO_HARNESS();
}

FIXTURE_TEARDOWN(blobs)
{
}

/* Put in and taken out */
TEST_F_TIMEOUT(blobs, in_and_out, 300)
{
	static const unsigned int choice[] = { 0, 1, 2, 3, 4, 5, 1, 2, 4 };

	replace_under_writers(0, NOTHING, choice, ARRAY_SIZE(choice));
}

/* One instead of the other: no access may fail at all */
TEST_F_TIMEOUT(blobs, one_for_another, 300)
{
	static const unsigned int choice[] = { 1, 2, 3, 4, 5 };
	int i;

	replace_under_writers(0, MEMFD, choice, ARRAY_SIZE(choice));
	for (i = 0; i < NR_PIECES; i++)
		TEST_ASSERT_EQ(w.pieces[i].outs, 0);
}

/*
 * The same, and a replacement is always about to come, so that many come between the
 * fault's look at the VMA and its look at the page: of what it finds then it must not
 * say that it is not in order.
 */
TEST_F_TIMEOUT(blobs, one_piece, 300)
{
	static const unsigned int choice[] = { MEMFD, NC_IN_WB };

	w.one_piece = true;
	replace_under_writers(0, MEMFD, choice, ARRAY_SIZE(choice));
	TEST_ASSERT_EQ(w.pieces[0].outs, 0);
}

/* The VMM mends what a flagged slot refuses, while the vCPU runs into it */
TEST_F_TIMEOUT(blobs, flag_mended, 300)
{
	static const unsigned int choice[] = { 0, 1, 2, 3, 4, 5, 2, 3, 2, 3 };

	mt_require_noncacheable();
	replace_under_writers(KVM_MEM_NONCACHEABLE, NC_IN_WB, choice, ARRAY_SIZE(choice));
}

/* One that is in order for another that is */
TEST_F_TIMEOUT(blobs, flag_one_for_another, 300)
{
	static const unsigned int choice[] = { 2, 3 };

	mt_require_noncacheable();
	replace_under_writers(KVM_MEM_NONCACHEABLE, NC_IN_WB, choice, ARRAY_SIZE(choice));
}

/* ---- pages that their driver moves ---- */

static const struct memtype_test_config evictable = {
	.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_NC,
	.flags = MEMTYPE_TEST_EVICTABLE,
};

/* A vCPU that counts in each page of a piece */
static struct {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	void *hva;
	int fd;
	unsigned int rounds;
	pthread_t thread;
	struct mt_result result;
	bool stop;
	u64 passes;
} counter;

static void counter_create(const struct memtype_test_config *config)
{
	unsigned int seed;

	mt_require_pfnmap();
	seed = mt_seed();
	counter.rounds = mt_number("MT_ROUNDS", 4000);
	ksft_print_msg("MT_ROUNDS=%u MT_SEED=%u\n", counter.rounds, seed);
	srandom(seed);
	counter.vm = mt_vm_create(&counter.vcpu, SIZE);
	counter.fd = mt_test_open(config);
	counter.hva = mt_mmap(counter.fd, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	memset(counter.hva, 0, PIECE);
	MT_EXPECT_ERRNO(mt_set_slot(counter.vm, 0, MT_GPA, PIECE, counter.hva), 0);
}

static void *count_pages(void *unused)
{
	while (!READ_ONCE(counter.stop)) {
		counter.result = mt_access(counter.vcpu, MT_COUNT, MT_GPA, PIECE_PAGES);
		if (counter.result.run_errno || counter.result.exit_reason || counter.result.esr)
			break;
		WRITE_ONCE(counter.passes, counter.passes + 1);
	}
	return NULL;
}

static void counter_start(void)
{
	pthread_create(&counter.thread, NULL, count_pages, NULL);
}

/* No access has failed in @round rounds, and no count is lost */
static void counter_stop(unsigned int round)
{
	int i;

	WRITE_ONCE(counter.stop, true);
	pthread_join(counter.thread, NULL);
	TEST_ASSERT(!counter.result.run_errno && !counter.result.exit_reason &&
		    !counter.result.esr, "After %u rounds: %s", round,
		    mt_outcome(&counter.result));
	/* Once more, to see where everything is */
	mt_access_ok(counter.vcpu, MT_COUNT, MT_GPA, PIECE_PAGES);
	counter.passes++;
	for (i = 0; i < PIECE_PAGES; i++)
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(counter.hva + i * MT_PAGE)), counter.passes);
}

static void counter_end(void)
{
	kvm_vm_free(counter.vm);
	munmap(counter.hva, PIECE);
	close(counter.fd);
}

/* Bit n is set: page n is in system memory */
static void expect_places(unsigned int in_ram)
{
	int i;

	for (i = 0; i < PIECE_PAGES; i++) {
		bool ram = in_ram & BIT(i);

		TEST_ASSERT_EQ(host_pte(counter.hva + i * MT_PAGE).type,
			       ram ? MEMTYPE_TEST_WB : MEMTYPE_TEST_NC);
		mt_expect_type(counter.vm, MT_GPA + i * MT_PAGE, ram ? S2_WB : S2_NC, NULL);
	}
}

/* Moved under a vCPU that counts in each page; no count is lost, no type is wrong */
TEST_F_TIMEOUT(blobs, evicted_and_back, 300)
{
	unsigned int in_ram = 0, round, from, nr;

	counter_create(&evictable);

	/* One after the other, to see each step */
	mt_access_ok(counter.vcpu, MT_COUNT, MT_GPA, PIECE_PAGES);
	expect_places(0);
	mt_evict(counter.fd, MT_PAGE, 2 * MT_PAGE, true);
	TEST_ASSERT_EQ(s2_count(counter.vm, MT_GPA, PIECE, 0), PIECE_PAGES - 2);
	mt_access_ok(counter.vcpu, MT_COUNT, MT_GPA, PIECE_PAGES);
	expect_places(0x6);
	mt_evict(counter.fd, 0, PIECE, false);
	TEST_ASSERT_EQ(s2_count(counter.vm, MT_GPA, PIECE, 0), 0);
	mt_access_ok(counter.vcpu, MT_COUNT, MT_GPA, PIECE_PAGES);
	expect_places(0);
	counter.passes = 3;

	counter_start();
	for (round = 0; round < counter.rounds && !READ_ONCE(counter.result.run_errno); round++) {
		from = random() % PIECE_PAGES;
		nr = 1 + random() % (PIECE_PAGES - from);
		mt_evict(counter.fd, from * MT_PAGE, nr * MT_PAGE, round & 1);
		if (round & 1)
			in_ram |= GENMASK(from + nr - 1, from);
		else
			in_ram &= ~GENMASK(from + nr - 1, from);
		usleep(BETWEEN_US);
	}
	counter_stop(round);
	expect_places(in_ram);
	ksft_print_msg("%u moves under %lu passes\n", round, (unsigned long)counter.passes);
	TEST_ASSERT(counter.passes > counter.rounds / 80, "Too few passes");
	counter_end();
}

/*
 * A driver write-protects pages, to see the next write to each, under a vCPU that
 * counts in them: between the fault handler's and KVM's look at an entry, too. No
 * access fails, and no count is lost.
 */
TEST_F_TIMEOUT(blobs, write_protected, 300)
{
	static const struct memtype_test_config config = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_MKWRITE,
	};
	unsigned int round, from, nr;
	u64 entries = 0;

	counter_create(&config);
	counter_start();
	for (round = 0; round < counter.rounds && !READ_ONCE(counter.result.run_errno); round++) {
		from = random() % PIECE_PAGES;
		nr = 1 + random() % (PIECE_PAGES - from);
		entries += mt_wrprotect(counter.fd, from * MT_PAGE, nr * MT_PAGE);
		usleep(random() % BETWEEN_US);
	}
	counter_stop(round);
	mt_expect_nc(counter.vm, MT_GPA, PIECE, "counted");
	ksft_print_msg("%lu entries write-protected under %lu passes\n", (unsigned long)entries,
		       (unsigned long)counter.passes);
	TEST_ASSERT(counter.passes > counter.rounds / 80 && entries > counter.rounds / 80,
		    "Too few");
	counter_end();
}

/* A flagged slot refuses what is in system memory, and takes it when it is back */
TEST_F(blobs, flag_evicted_and_back)
{
	struct kvm_vcpu *vcpu;
	struct mt_result r;
	struct kvm_vm *vm;
	void *hva;
	int fd, i;

	mt_require_noncacheable();
	vm = mt_vm_create(&vcpu, SIZE);
	fd = mt_test_open(&evictable);
	hva = mt_mmap(fd, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, PIECE, hva), 0);
	for (i = 0; i < 3; i++) {
		mt_access_ok(vcpu, MT_FILL, MT_GPA, PIECE_PAGES);
		mt_expect_nc(vm, MT_GPA, PIECE, "in the range");
		mt_evict(fd, 0, MT_PAGE, true);
		r = mt_access(vcpu, MT_STR, MT_GPA, 1);
		MT_EXPECT_ERRNO(r.run_errno, EFAULT);
		TEST_ASSERT_EQ(r.exit_reason, KVM_EXIT_MEMORY_FAULT);
		TEST_ASSERT_EQ(r.fault.flags, KVM_MEMORY_EXIT_FLAG_MEMTYPE);
		mt_access_ok(vcpu, MT_STR, MT_GPA + MT_PAGE, 1);
		mt_evict(fd, 0, MT_PAGE, false);
	}
	kvm_vm_free(vm);
	munmap(hva, PIECE);
	close(fd);
}

MT_NEEDS(MT_PFNMAP)

TEST_HARNESS_MAIN
