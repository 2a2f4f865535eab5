// SPDX-License-Identifier: GPL-2.0
/*
 * s2_fuzz - Random operations on memslots and on the memory behind them, and a model
 *
 * The model is a page long: it knows what is mapped where in the VMM, which memslots
 * its two VMs have, and what has been written. From that it says the errno of each call,
 * the outcome of each access of a guest and what it reads, the pages that are dirty, and
 * the type of each leaf of stage 2. Whatever disagrees fails, and the shortest sequence
 * of operations that still fails is printed, to be pasted into regressions[].
 *
 * MT_OPS= operations are made, MT_SEED= gives them, and OPS_A_RUN of them are made by one
 * process, which has eager splitting and the dirty ring or not, as its seed says. With
 * "noise", a second vCPU reads what it can reach meanwhile, and the dump, the audit and
 * the tracepoint are read all the time; "two" are two such processes at once. Where there
 * is a device of vfio-pci, or CARVEOUT_POOL= names a pool of the carve-out module, their
 * memory is mapped, too.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <linux/bitops.h>
#include <linux/dma-heap.h>
#include <linux/kvm_memtype.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "dirty_ring.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"

/*
 * A block of 4K pages. Of larger ones there are none here: not in the BARs, nor in the
 * pool, nor in the module's memory, of which there is one for each kind.
 */
#define PIECE		SZ_2M
#define NR_PIECES	6	/* of the VMM's address space that memslots take */
#define NR_VMS		2
#define NR_PLACES	8	/* of a guest's, as large as a piece */
#define NR_SLOTS	4	/* of a VM's */
#define OPS_A_RUN	1000
#define NR_VCPUS	2
#define RING_ENTRIES	65536	/* more than a run makes dirty */
/* Slots and places are counted through: the second VM's come after the first one's */
#define ALL_PLACES	(NR_VMS * NR_PLACES)
#define ALL_SLOTS	(NR_VMS * NR_SLOTS)

/* For the shortest sequence that fails */
#define SHRINK_SECONDS	90
/* So often it is said how far it is */
#define PROGRESS_SECONDS	60

#define PIECE_PAGES	(PIECE / MT_PAGE)
#define MAX_PIECE_PAGES	(PIECE / SZ_4K)

/* Those of a piece that are accessed; the others are populated at most */
#define NR_PAGES	4
static unsigned int pages[NR_PAGES];

static void choose_pages(void)
{
	pages[0] = 0;
	pages[1] = 1;
	pages[2] = PIECE_PAGES / 2 - 1;
	pages[3] = PIECE_PAGES - 1;
}

/* In a page: a word that is written and read, and where others must not touch it */
#define UNALIGNED_AT	(64 + 1)
#define EXEC_AT		128
#define RET_INSN	0xd65f03c0UL	/* AArch64 "ret" */

#define S2_REFUSED	"refused"

/* What the VMM maps into a piece */
static const struct kind {
	const char *name;
	const char *with;	/* stage 2 with FEAT_S2FWB and CTR_EL0.DIC; NULL: no page */
	const char *without;
	bool flagged;		/* a flagged slot takes it, as Normal-NC */
	bool pfnmap;
	struct memtype_test_config config;
	int bar_type;		/* of BAR */
} kinds[] = {
#define P(_name, _vma, _pte, _flags, _with, _without, _flagged)			\
	{ _name, S2_##_with, S2_##_without, _flagged, true,			\
	  { .vma_type = MEMTYPE_TEST_##_vma, .pte_type = MEMTYPE_TEST_##_pte,	\
	    .flags = _flags } }
#define B(_name, _type, _s2, _flagged)						\
	{ _name, S2_##_s2, S2_##_s2, _flagged, true, .bar_type = _type }
	{ "nothing" },
	{ "anonymous", S2_WB, S2_WB },
	{ "huge page", S2_WB, S2_WB },
	{ "memfd", S2_WB, S2_WB },
	P("WB",			WB,	WB,	0,			WB, REFUSED,	false),
	P("WB at mmap()",	WB,	WB,	MEMTYPE_TEST_POPULATE,	WB, REFUSED,	false),
	P("NC",			NC,	NC,	0,			NC, NC,		true),
	P("NC at mmap()",	NC,	NC,	MEMTYPE_TEST_POPULATE,	NC, NC,		true),
	P("NC in a WB VMA",	WB,	NC,	0,			NC, NC,		true),
	P("NC, write seen",	NC,	NC,	MEMTYPE_TEST_MKWRITE,	NC, NC,		true),
	P("NC blocks",		NC,	NC,	MEMTYPE_TEST_PMD,	NC, NC,		true),
	P("Device",		DEVICE,	DEVICE,	0,			DEVICE, DEVICE,	false),
	P("Device, granted",	DEVICE,	DEVICE,	MEMTYPE_TEST_GRANT,	NC, NC,		true),
	P("WB in an NC VMA",	NC,	WB,	0,			DEVICE, DEVICE,	false),
	{ "carve-out", S2_NC, S2_NC, true, true },
	B("BAR",			DEFAULT,	NC,	true),
	B("BAR, strict",		STRICT,		DEVICE,	false),
	B("BAR, write-combine",		WRITE_COMBINE,	NC,	true),
};

enum {
	NOTHING, ANON, HUGE, MEMFD, FIRST_PFNMAP, NC_BLOCKS = 10,
	CARVEOUT = 14, BAR, BAR_STRICT, BAR_WC,
};

#define NR_KINDS	ARRAY_SIZE(kinds)

enum what {
	MAP,		/* kind b over piece a */
	MOVE,		/* what piece a has to piece b; a has nothing then */
	PROTECT,	/* piece a becomes read-only, or writable if b */
	DISCARD,	/* the pages of piece a */
	FORK,
	SLOT,		/* slot a over c pieces from b on, at place d, with flags */
	DELETE,		/* slot a */
	GET_LOG,	/* of slot a */
	POPULATE,	/* page b of place a, or all of it */
	LOAD,		/* by the guest, page b of place a */
	STORE,
	UNALIGNED,
	EXEC,
	LOOK,		/* at all of stage 2 and all memory */
	DECODE,		/* the device's memory, or no longer, if a is 0 */
	SLEEP,		/* the device, in D3hot, or no longer, if a is 0 */
	RESET,		/* the device */
	REBIND,		/* it leaves vfio-pci and comes back; its BARs are unmapped */
	NR_WHATS
};

static const char * const whats[NR_WHATS] = {
	"MAP", "MOVE", "PROTECT", "DISCARD", "FORK", "SLOT", "DELETE", "GET_LOG",
	"POPULATE", "LOAD", "STORE", "UNALIGNED", "EXEC", "LOOK", "DECODE", "SLEEP", "RESET",
	"REBIND",
};

struct op {
	u8 what, a, b, c, d;
	u32 flags;
};

/* What the process that has the VM tells the one that watches it */
static struct shared {
	unsigned int nr;	/* operations begun; the last one is what failed */
	struct op ops[OPS_A_RUN];
} *shared;

/* ---- the model ---- */

struct slot {
	bool used;
	u8 first, nr, place;
	u32 flags;
	/* Pages that are dirty, and pieces of which all may be */
	bool dirty[NR_PIECES][NR_PAGES];
	bool may[NR_PIECES];
};

static struct model {
	/* home: which piece of a file or, of anonymous memory, which content it is */
	struct { u8 kind, home; bool ro; } pieces[NR_PIECES];
	struct slot slots[ALL_SLOTS];
	u64 content[NR_KINDS][NR_PIECES][NR_PAGES];
	u64 stores;
	bool cacheable_pfnmap;
	bool flag;		/* there is KVM_MEM_NONCACHEABLE */
	bool decodes;		/* PCI_COMMAND_MEMORY of the device */
	bool sleeps;
} m;

enum outcome { OK, MMIO, NO_PAGE, WRONG_TYPE, ALIGNMENT, ABORT, OTHER };

static const char * const outcomes[] = {
	"ok", "MMIO", "no page", "refused for its type", "alignment fault",
	"external abort", "something else",
};

/* The slot that has a place, or NULL, and the piece behind it */
static struct slot *slot_at(int place, int *piece)
{
	int i;

	for (i = 0; i < ALL_SLOTS; i++) {
		struct slot *s = &m.slots[i];

		if (s->used && place >= s->place && place < s->place + s->nr) {
			*piece = s->first + place - s->place;
			return s;
		}
	}
	return NULL;
}

static bool is_bar(int kind)
{
	return kind >= BAR;
}

static bool has_pages(int piece)
{
	int kind = m.pieces[piece].kind;

	return kinds[kind].with && (!is_bar(kind) || (m.decodes && !m.sleeps));
}

/* NULL: there is no page */
static const char *type_of(const struct slot *s, int piece)
{
	const struct kind *k = &kinds[m.pieces[piece].kind];

	if (!has_pages(piece))
		return NULL;
	if (s->flags & KVM_MEM_NONCACHEABLE)
		return k->flagged ? S2_NC : S2_REFUSED;
	return m.cacheable_pfnmap ? k->with : k->without;
}

/* Memory that KVM maps writable at once, and dirty, whoever asked for it */
static bool never_clean(const struct slot *s, int piece)
{
	return kinds[m.pieces[piece].kind].pfnmap && !(s->flags & KVM_MEM_NONCACHEABLE);
}

static bool logs(const struct slot *s)
{
	return s->used && (s->flags & KVM_MEM_LOG_DIRTY_PAGES) &&
	       !(s->flags & KVM_MEM_READONLY);
}

static enum outcome predict(enum what what, int place)
{
	const char *type;
	struct slot *s;
	int piece;

	s = slot_at(place, &piece);
	if (!s)
		return what == EXEC ? ABORT : MMIO;

	type = type_of(s, piece);
	if (what == STORE || what == UNALIGNED) {
		if (s->flags & KVM_MEM_READONLY)
			return MMIO;
		if (m.pieces[piece].ro)
			return NO_PAGE;
	}
	if (!type)
		return NO_PAGE;
	if (!strcmp(type, S2_REFUSED))
		return WRONG_TYPE;
	if (what == UNALIGNED && !strcmp(type, S2_DEVICE))
		return ALIGNMENT;
	if (what == EXEC && strcmp(type, S2_WB))
		return ABORT;
	return OK;
}

/* What the VMAs of a slot say when it is made, moved or has its logging changed */
static int predict_vmas(u8 first, u8 nr, u32 flags)
{
	int i;

	for (i = first; i < first + nr; i++) {
		const struct kind *k = &kinds[m.pieces[i].kind];

		if (!k->pfnmap) {
			if (flags & KVM_MEM_NONCACHEABLE)
				return -EINVAL;
			continue;
		}
		if ((flags & KVM_MEM_LOG_DIRTY_PAGES) && !(flags & KVM_MEM_NONCACHEABLE))
			return -EINVAL;
		/* All entries are there, so that there is nothing to wait for */
		if (k->config.vma_type == MEMTYPE_TEST_WB &&
		    (k->config.flags & MEMTYPE_TEST_POPULATE) && !m.cacheable_pfnmap)
			return -EINVAL;
	}
	return 0;
}

static int predict_slot(const struct op *op)
{
	const struct slot *s = &m.slots[op->a];
	u32 immutable = KVM_MEM_READONLY | KVM_MEM_NONCACHEABLE;
	bool moves = !s->used || s->place != op->d;
	int i;

	if (op->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY | KVM_MEM_NONCACHEABLE))
		return -EINVAL;
	if ((op->flags & KVM_MEM_NONCACHEABLE) && !m.flag)
		return -EINVAL;
	if (s->used) {
		if (s->first != op->b || s->nr != op->c || (s->flags ^ op->flags) & immutable)
			return -EINVAL;
		if (!moves && s->flags == op->flags)
			return 0;
	}
	for (i = 0; moves && i < ALL_SLOTS; i++) {
		const struct slot *o = &m.slots[i];

		if (i != op->a && o->used && op->d < o->place + o->nr &&
		    o->place < op->d + op->c)
			return -EEXIST;
	}
	if (!moves && (op->flags & KVM_MEM_NONCACHEABLE))
		return 0;
	return predict_vmas(op->b, op->c, op->flags);
}

/* ---- the machine ---- */

static struct {
	struct kvm_vm *vms[NR_VMS];
	struct kvm_vcpu *vcpus[NR_VMS][NR_VCPUS];
	void *hva;
	int fds[NR_KINDS];	/* -1: there is no such memory here */
	u64 offsets[NR_KINDS];	/* of the first piece */
	const struct bar *bar;
	struct mt_dev dev;
	bool can_sleep;
	bool can_reset;
	bool second;		/* of two processes, which share nothing */
	bool eager;		/* blocks are split when logging starts, not when written to */
	bool ring;
	/* What a slot's log had last, or its VM's rings since then */
	unsigned long bitmaps[ALL_SLOTS][NR_PIECES * MAX_PIECE_PAGES / BITS_PER_LONG];
	bool stop;
} w;

static u64 gpa_of_place(int place)
{
	return MT_GPA + place % NR_PLACES * PIECE;
}

static u64 gpa_of(int place, int page)
{
	return gpa_of_place(place) + pages[page] * MT_PAGE;
}

static struct kvm_vcpu *vcpu_of(int place)
{
	return w.vcpus[place / NR_PLACES][0];
}

static int set_region(int slot, u32 flags, u64 gpa, u64 size, void *hva)
{
	return mt_set_slot_nr(w.vms[slot / NR_SLOTS], MT_SLOT + slot % NR_SLOTS, flags, gpa,
			      size, hva);
}

static void *hva_of(int piece)
{
	return w.hva + piece * PIECE;
}

static void must_map(int piece, int prot, int flags, int fd, u64 offset)
{
	void *at = hva_of(piece);

	TEST_ASSERT(mmap(at, PIECE, prot, flags | MAP_FIXED, fd, offset) == at, "mmap: %s",
		    strerror(errno));
}

static void map(int piece, int kind)
{
	int i, home = piece;
	bool taken;

	/* From regressions[], where the machine has no such memory */
	if (w.fds[kind] < 0)
		kind = NOTHING;
	if (kind == NOTHING) {
		must_map(piece, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	} else if (kind == ANON || kind == HUGE) {
		must_map(piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		madvise(hva_of(piece), PIECE, kind == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		if (kind == HUGE)
			memset(hva_of(piece), 0, PIECE);
		/* New content, while some that was here may have moved elsewhere */
		m.pieces[piece].kind = NOTHING;
		for (home = 0, taken = true; taken; home += taken)
			for (i = 0, taken = false; i < NR_PIECES; i++)
				taken |= m.pieces[i].kind == kind && m.pieces[i].home == home;
		memset(m.content[kind][home], 0, sizeof(m.content[kind][home]));
	} else {
		must_map(piece, PROT_READ | PROT_WRITE, MAP_SHARED, w.fds[kind],
			 w.offsets[kind] + piece * PIECE);
	}
	m.pieces[piece].kind = kind;
	m.pieces[piece].home = home;
	m.pieces[piece].ro = false;
}

static void move(int from, int to)
{
	if (from == to)
		return;
	TEST_ASSERT(mremap(hva_of(from), PIECE, PIECE, MREMAP_MAYMOVE | MREMAP_FIXED,
			   hva_of(to)) == hva_of(to), "mremap: %s", strerror(errno));
	m.pieces[to] = m.pieces[from];
	map(from, NOTHING);
}

static void protect(int piece, bool writable)
{
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;

	if (m.pieces[piece].kind == NOTHING)
		return;
	TEST_ASSERT(!mprotect(hva_of(piece), PIECE, prot), "mprotect: %s", strerror(errno));
	m.pieces[piece].ro = !writable;
}

static void discard(int piece)
{
	int kind = m.pieces[piece].kind, home = m.pieces[piece].home, i;

	if (kind == NOTHING)
		return;
	if (is_bar(kind) || kind == CARVEOUT)
		return;		/* DECODE is for BARs; nobody takes a buffer away */
	if (kind >= FIRST_PFNMAP) {
		/* All files of the module have one mapping; nobody makes these again */
		for (i = 0; i < NR_PIECES; i++)
			if ((kinds[m.pieces[i].kind].config.flags & MEMTYPE_TEST_POPULATE) &&
			    m.pieces[i].home == home)
				return;
		mt_zap(w.fds[kind], w.offsets[kind] + home * PIECE, PIECE);
		return;
	}
	TEST_ASSERT(!madvise(hva_of(piece), PIECE, MADV_DONTNEED), "madvise: %s",
		    strerror(errno));
	if (kind != MEMFD)
		memset(m.content[kind][home], 0, sizeof(m.content[kind][home]));
}

/* Anonymous pages become shared, and the next write makes a copy */
static void fork_once(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	TEST_ASSERT(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork: %s", strerror(errno));
}

/* What is in the rings by now; KVM write-protects that again */
static void collect_rings(void)
{
	struct kvm_dirty_gfn page;
	u32 i, count, slot;
	int vm;

	for (vm = 0; w.ring && vm < NR_VMS; vm++) {
		for (i = 0, count = 0; i < NR_VCPUS; i++)
			for (; mt_ring_next(w.vcpus[vm][i], &page); count++) {
				slot = page.slot - MT_SLOT;
				TEST_ASSERT(slot < NR_SLOTS &&
					    page.offset < NR_PIECES * PIECE_PAGES,
					    "A ring has page %#lx of slot %u",
					    (unsigned long)page.offset, page.slot);
				__set_bit(page.offset, w.bitmaps[vm * NR_SLOTS + slot]);
			}
		TEST_ASSERT_EQ(kvm_vm_reset_dirty_ring(w.vms[vm]), count);
	}
}

static void forget_log(int slot)
{
	memset(m.slots[slot].dirty, 0, sizeof(m.slots[slot].dirty));
	memset(m.slots[slot].may, 0, sizeof(m.slots[slot].may));
	memset(w.bitmaps[slot], 0, sizeof(w.bitmaps[slot]));
}

static void set_slot(const struct op *op)
{
	struct slot *s = &m.slots[op->a];
	int want = -predict_slot(op);

	MT_EXPECT_ERRNO(set_region(op->a, op->flags, gpa_of_place(op->d), op->c * PIECE,
				   hva_of(op->b)), want);
	if (want)
		return;
	/* The log lives as long as there is logging */
	if (!s->used || !(s->flags & op->flags & KVM_MEM_LOG_DIRTY_PAGES)) {
		collect_rings();
		forget_log(op->a);
	}
	s->used = true;
	s->first = op->b;
	s->nr = op->c;
	s->place = op->d;
	s->flags = op->flags;
}

static void delete_slot(int slot)
{
	struct slot *s = &m.slots[slot];

	MT_EXPECT_ERRNO(set_region(slot, 0, 0, 0, NULL), s->used ? 0 : EINVAL);
	s->used = false;
}

static bool is_touched(unsigned int page, int *index)
{
	for (*index = 0; *index < NR_PAGES; ++*index)
		if (pages[*index] == page)
			return true;
	return false;
}

static void get_log(int slot)
{
	unsigned long *bitmap = w.bitmaps[slot];
	struct kvm_dirty_log log = {
		.slot = MT_SLOT + slot % NR_SLOTS, .dirty_bitmap = bitmap,
	};
	struct slot *s = &m.slots[slot];
	bool has = s->used && (s->flags & KVM_MEM_LOG_DIRTY_PAGES);
	unsigned int n;
	int i;

	/* There is one or the other */
	MT_EXPECT_ERRNO(__vm_ioctl(w.vms[slot / NR_SLOTS], KVM_GET_DIRTY_LOG, &log) ? errno : 0,
			w.ring ? ENXIO : has ? 0 : ENOENT);
	collect_rings();
	if (!has)
		return;
	for (n = 0; n < s->nr * PIECE_PAGES; n++) {
		bool got = bitmap[n / BITS_PER_LONG] >> (n % BITS_PER_LONG) & 1;
		bool must = is_touched(n % PIECE_PAGES, &i) && s->dirty[n / PIECE_PAGES][i];

		TEST_ASSERT(got == must || (got && s->may[n / PIECE_PAGES]),
			    "Slot %d, page %u: %s, expected %s", slot, n,
			    got ? "dirty" : "clean", must ? "dirty" : "clean");
	}
	forget_log(slot);
}

static void populate(int place, unsigned int page)
{
	struct kvm_pre_fault_memory range = {
		.gpa = gpa_of_place(place), .size = PIECE,
	};
	enum outcome want = predict(LOAD, place);
	struct kvm_vcpu *vcpu = vcpu_of(place);
	int ret;

	if (page < NR_PAGES) {
		range.gpa = gpa_of(place, page);
		range.size = MT_PAGE;
	}
	vcpu->run->exit_reason = 0;
	do {
		ret = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range) ? errno : 0;
	} while (range.size && (!ret || ret == EAGAIN || ret == EINTR));

	MT_EXPECT_ERRNO(ret, want == OK ? 0 : want == MMIO ? ENOENT : EFAULT);
	if (ret != EFAULT)
		return;
	TEST_ASSERT_EQ(vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(vcpu->run->memory_fault.flags,
		       want == WRONG_TYPE ? KVM_MEMORY_EXIT_FLAG_MEMTYPE : 0);
}

static enum outcome outcome_of(const struct mt_result *r)
{
	if (r->run_errno)
		return r->run_errno != EFAULT || r->exit_reason != KVM_EXIT_MEMORY_FAULT ? OTHER :
		       r->fault.flags == KVM_MEMORY_EXIT_FLAG_MEMTYPE ? WRONG_TYPE :
		       r->fault.flags ? OTHER : NO_PAGE;
	if (r->exit_reason)
		return r->exit_reason == KVM_EXIT_MMIO ? MMIO : OTHER;
	return mt_alignment_fault(r) ? ALIGNMENT : mt_external_abort(r) ? ABORT :
	       r->esr ? OTHER : OK;
}

static struct mt_result access_as(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val,
				  enum outcome want)
{
	struct mt_result r = mt_access(vcpu, op, gpa, val);
	enum outcome got = outcome_of(&r);

	TEST_ASSERT(got == want, "%s at %#lx: %s (%s), expected %s", mt_op_names[op],
		    (unsigned long)gpa, outcomes[got], mt_outcome(&r), outcomes[want]);
	return r;
}

static void wrote(int place, int page)
{
	int piece;
	struct slot *s = slot_at(place, &piece);

	if (logs(s))
		s->dirty[place - s->place][page] = true;
}

/* A BAR is the same, however it is mapped */
static u64 *content_of(int piece)
{
	int kind = m.pieces[piece].kind;

	return m.content[is_bar(kind) ? BAR : kind][m.pieces[piece].home];
}

static void access_guest(enum what what, int place, int page)
{
	enum outcome want = predict(what, place), stored = predict(STORE, place);
	struct kvm_vcpu *vcpu = vcpu_of(place);
	u64 gpa = gpa_of(place, page);
	struct mt_result r;
	int piece = 0;

	slot_at(place, &piece);
	switch (what) {
	case LOAD:
		r = access_as(vcpu, MT_LDR, gpa, 0, want);
		if (want == OK)
			TEST_ASSERT(r.val == content_of(piece)[page],
				    "Place %d has %#lx, expected %#lx", place, (unsigned long)r.val,
				    (unsigned long)content_of(piece)[page]);
		break;
	case STORE:
		access_as(vcpu, MT_STR, gpa, ++m.stores, want);
		if (want == OK)
			content_of(piece)[page] = m.stores;
		break;
	case UNALIGNED:
		access_as(vcpu, MT_STR, gpa + UNALIGNED_AT, 1, want);
		break;
	default:
		if (stored == OK) {
			access_as(vcpu, MT_STR, gpa + EXEC_AT, RET_INSN, OK);
			access_as(vcpu, MT_CIVAC, gpa + EXEC_AT, 0, OK);
		} else if (want == OK) {
			return;		/* Whatever is there now */
		}
		access_as(vcpu, MT_EXEC, gpa + EXEC_AT, 0, want);
		break;
	}
	/* An access that is not aligned comes after one that is */
	if (what != LOAD && stored == OK)
		wrote(place, page);
}

/* Every leaf of stage 2 is what it has to be */
static void look_at_stage2(int vm)
{
	struct s2_range *ranges;
	int piece, index;
	size_t nr, i;
	u64 gpa;

	nr = s2_dump(w.vms[vm], MT_GPA, NR_PLACES * PIECE, &ranges);
	for (i = 0; i < nr; i++) {
		const struct s2_range *r = &ranges[i];

		for (gpa = r->start; gpa < r->end; gpa += r->leaf_size) {
			int place = vm * NR_PLACES + (gpa - MT_GPA) / PIECE;
			struct slot *s = slot_at(place, &piece);
			const char *type = s ? type_of(s, piece) : NULL;

			TEST_ASSERT(type && strcmp(type, S2_REFUSED), "%#lx is mapped as '%s'",
				    (unsigned long)gpa, r->type);
			TEST_ASSERT(s2_type_is(r, type), "%#lx (%s) is '%s', expected '%s'",
				    (unsigned long)gpa, kinds[m.pieces[piece].kind].name,
				    r->type, type);
			TEST_ASSERT(!strcmp(type, S2_WB) || r->xn, "%#lx is executable",
				    (unsigned long)gpa);
			if (!r->writable)
				continue;
			TEST_ASSERT(!(s->flags & KVM_MEM_READONLY) && !m.pieces[piece].ro,
				    "%#lx is writable", (unsigned long)gpa);
			TEST_ASSERT(!logs(s) || never_clean(s, piece) ||
				    (r->leaf_size == MT_PAGE &&
				     is_touched(gpa % PIECE / MT_PAGE, &index) &&
				     s->dirty[place - s->place][index]),
				    "%#lx is writable and not logged", (unsigned long)gpa);
		}
	}
	free(ranges);
}

/* And memory has what was written there */
static void look(void)
{
	int vm, piece, page;

	for (vm = 0; vm < NR_VMS; vm++)
		look_at_stage2(vm);
	for (piece = 0; piece < NR_PIECES; piece++)
		for (page = 0; has_pages(piece) && page < NR_PAGES; page++) {
			u64 got = READ_ONCE(*(u64 *)(hva_of(piece) + pages[page] * MT_PAGE));

			TEST_ASSERT(got == content_of(piece)[page],
				    "Piece %d (%s), page %u has %#lx, expected %#lx", piece,
				    kinds[m.pieces[piece].kind].name, pages[page],
				    (unsigned long)got, (unsigned long)content_of(piece)[page]);
		}
}

static void decode(bool decodes)
{
	u16 command = mt_dev_command(&w.dev);

	mt_dev_set_command(&w.dev, decodes ? command | PCI_COMMAND_MEMORY :
					     command & ~PCI_COMMAND_MEMORY);
	m.decodes = decodes;
}

static void set_sleep(bool sleeps)
{
	if (!w.can_sleep)
		return;
	mt_dev_set_power_state(&w.dev, sleeps ? 3 : 0);
	m.sleeps = sleeps;
}

static void reset(void)
{
	MT_EXPECT_ERRNO(ioctl(w.dev.fd, VFIO_DEVICE_RESET) ? errno : 0, w.can_reset ? 0 : EINVAL);
	if (w.can_reset)
		m.sleeps = false;
}

/* A BAR that is memory, with each type that the kernel knows */
static void open_device(void)
{
	struct vfio_device_feature_region_memtype memtype;
	struct vfio_device_info device = { .argsz = sizeof(device) };
	struct vfio_region_info info;
	int kind, index = w.bar->index;

	mt_dev_open(&w.dev, w.bar->bdf, MT_CDEV);
	for (kind = BAR; kind < NR_KINDS; kind++) {
		if (!bar_get_memtype(w.dev.fd, index, kinds[kind].bar_type, &memtype))
			w.offsets[kind] = memtype.offset;
		else if (kind == BAR && mt_dev_region(&w.dev, index, &info))
			w.offsets[kind] = info.offset;
		else
			continue;
		w.fds[kind] = w.dev.fd;
	}
	TEST_ASSERT(!ioctl(w.dev.fd, VFIO_DEVICE_GET_INFO, &device),
		    "VFIO_DEVICE_GET_INFO: %s", strerror(errno));
	w.can_reset = device.flags & VFIO_DEVICE_FLAGS_RESET;
	w.can_sleep = mt_dev_pm_control(&w.dev);
	m.sleeps = false;
	decode(true);
}

static void rebind(void)
{
	int piece;

	for (piece = 0; piece < NR_PIECES; piece++)
		if (is_bar(m.pieces[piece].kind))
			map(piece, NOTHING);
	mt_dev_close(&w.dev);
	mt_unbind(w.bar->bdf);
	open_device();
}

static void device_op(const struct op *op)
{
	/* From regressions[], where the machine has none */
	if (w.fds[BAR] < 0)
		return;
	/* Elsewhere a device may come back without what was in its memory */
	if (!mt_in_rig() && op->what != DECODE)
		return;
	switch (op->what) {
	case DECODE:
		decode(op->a);
		break;
	case SLEEP:
		set_sleep(op->a);
		break;
	case RESET:
		reset();
		break;
	default:
		rebind();
		break;
	}
}

static void run(const struct op *op)
{
	int i, n;

	switch (op->what) {
	case MAP:
		map(op->a, op->b);
		break;
	case MOVE:
		move(op->a, op->b);
		break;
	case PROTECT:
		protect(op->a, op->b);
		break;
	case DISCARD:
		discard(op->a);
		break;
	case FORK:
		fork_once();
		break;
	case SLOT:
		set_slot(op);
		break;
	case DELETE:
		delete_slot(op->a);
		break;
	case GET_LOG:
		get_log(op->a);
		break;
	case POPULATE:
		populate(op->a, op->b);
		break;
	case LOOK:
		look();
		break;
	case DECODE:
	case SLEEP:
	case RESET:
	case REBIND:
		device_op(op);
		break;
	default:
		access_guest(op->what, op->a, op->b);
		break;
	}

	for (i = 0; i < ALL_SLOTS; i++)
		for (n = 0; logs(&m.slots[i]) && n < m.slots[i].nr; n++)
			if (never_clean(&m.slots[i], m.slots[i].first + n))
				m.slots[i].may[n] = true;
}

/* ---- what to do next ---- */

static u32 pick(u32 nr)
{
	return random() % nr;
}

static struct op random_op(void)
{
	/* How often, of a thousand; a reset takes 100 ms */
	static const u8 often[NR_WHATS] = {
		[MAP] = 120, [MOVE] = 20, [PROTECT] = 40, [DISCARD] = 30, [FORK] = 10,
		[SLOT] = 150, [DELETE] = 30, [GET_LOG] = 50, [POPULATE] = 40, [LOAD] = 138,
		[STORE] = 200, [UNALIGNED] = 50, [EXEC] = 30, [LOOK] = 60, [DECODE] = 20,
		[SLEEP] = 10, [RESET] = 1, [REBIND] = 1,
	};
	struct op op = {};
	struct slot *s;
	u32 n = pick(1000);
	u8 vm;

	while (n >= often[op.what])
		n -= often[op.what++];
	switch (op.what) {
	case MAP:
		op.a = pick(NR_PIECES);
		do {
			op.b = pick(NR_KINDS);
		} while (w.fds[op.b] < 0);
		break;
	case MOVE:
		op.a = pick(NR_PIECES);
		op.b = pick(NR_PIECES);
		break;
	case PROTECT:
		op.a = pick(NR_PIECES);
		op.b = pick(3) > 0;
		break;
	case SLOT:
		op.a = pick(ALL_SLOTS);
		s = &m.slots[op.a];
		vm = op.a / NR_SLOTS;
		op.b = pick(NR_PIECES);
		op.c = 1 + pick(NR_PIECES - op.b);
		op.d = vm * NR_PLACES + pick(NR_PLACES - op.c + 1);
		op.flags = pick(2) ? KVM_MEM_NONCACHEABLE : 0;
		if (pick(3) == 0)
			op.flags |= KVM_MEM_LOG_DIRTY_PAGES;
		if (pick(6) == 0)
			op.flags |= KVM_MEM_READONLY;
		/* Mostly what can be done to one that is there */
		if (s->used && pick(8)) {
			op.b = s->first;
			op.c = s->nr;
			if (pick(3))
				op.d = s->place;
			else
				op.d = vm * NR_PLACES + pick(NR_PLACES - op.c + 1);
			op.flags = s->flags ^ (pick(3) ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		}
		if (pick(32) == 0)
			op.flags ^= 1U << pick(8);
		/* guest_memfd needs a descriptor, and is another test's */
		op.flags &= ~KVM_MEM_GUEST_MEMFD;
		break;
	case DELETE:
	case GET_LOG:
		op.a = pick(ALL_SLOTS);
		break;
	case DISCARD:
		op.a = pick(NR_PIECES);
		break;
	case FORK:
	case LOOK:
	case RESET:
	case REBIND:
		break;
	case DECODE:
		op.a = pick(3) > 0;
		break;
	case SLEEP:
		op.a = pick(3) == 0;
		break;
	default:
		op.a = pick(ALL_PLACES);
		/* One more than there are pages: all of it, to POPULATE */
		op.b = pick(NR_PAGES + (op.what == POPULATE));
		break;
	}
	return op;
}

/* ---- noise ---- */

static void *read_memory(void *unused)
{
	unsigned int n;

	for (n = 0; !READ_ONCE(w.stop); n++)
		mt_access(w.vcpus[n % NR_VMS][1], MT_LDR,
			  gpa_of(n * 5 % NR_PLACES, n % NR_PAGES), 0);
	return NULL;
}

#define TRACE	MT_TRACE("s2_fuzz")

static void *read_files(void *unused)
{
	static const char * const files[] = {
		"stage2_page_tables", "memtype_audit", TRACE "/trace_pipe",
	};
	char path[96], buf[4096];
	unsigned int n;
	int fd;

	for (n = 0; !READ_ONCE(w.stop); n++) {
		const char *file = files[n % ARRAY_SIZE(files)];

		if (*file == '/')
			snprintf(path, sizeof(path), "%s", file);
		else
			snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s", getpid(),
				 w.vms[n / ARRAY_SIZE(files) % NR_VMS]->fd, file);
		fd = open(path, O_RDONLY | O_NONBLOCK);
		if (fd < 0)
			continue;
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		close(fd);
		usleep(1000);
	}
	return NULL;
}

/* ---- a run ---- */

/* A buffer of the pool that CARVEOUT_POOL= names, or none */
static int pool_buffer(void)
{
	struct dma_heap_allocation_data data = {
		.len = NR_PIECES * PIECE, .fd_flags = O_RDWR | O_CLOEXEC,
	};
	const char *name = getenv("CARVEOUT_POOL");
	char path[96];
	int heap;

	if (!name || !*name)
		return -1;
	snprintf(path, sizeof(path), "/dev/dma_heap/carveout-%s", name);
	heap = open(path, O_RDWR | O_CLOEXEC);
	TEST_ASSERT(heap >= 0, "%s: %s", path, strerror(errno));
	TEST_ASSERT(!ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data), "DMA_HEAP_IOCTL_ALLOC: %s",
		    strerror(errno));
	close(heap);
	return data.fd;
}

/* The memory of files outlives the process: start from zeroes */
static void make_files(void)
{
	int kind, piece, page;
	char group[80];

	for (kind = FIRST_PFNMAP; kind < CARVEOUT; kind++) {
		struct memtype_test_config config = kinds[kind].config;

		/* Nobody shares memory with another, of another type, or another's offsets */
		config.offset = 2 * kind * NR_PIECES * PIECE;
		w.offsets[kind] = w.second * NR_PIECES * PIECE;
		w.fds[kind] = mt_test_open(&config);
	}
	for (kind = CARVEOUT; kind < NR_KINDS; kind++)
		w.fds[kind] = -1;
	w.fds[CARVEOUT] = pool_buffer();
	snprintf(group, sizeof(group), "/sys/bus/pci/devices/%s/iommu_group", w.bar->bdf);
	if (!access("/sys/bus/pci/drivers/vfio-pci", F_OK) && !access(group, F_OK))
		open_device();

	for (kind = FIRST_PFNMAP; kind < NR_KINDS; kind++)
		for (piece = 0; w.fds[kind] >= 0 && piece < NR_PIECES; piece++) {
			map(piece, kind);
			for (page = 0; page < NR_PAGES; page++)
				WRITE_ONCE(*(u64 *)(hva_of(piece) + pages[page] * MT_PAGE), 0);
		}

	w.fds[MEMFD] = memfd_create("s2_fuzz", 0);
	TEST_ASSERT(!ftruncate(w.fds[MEMFD], NR_PIECES * PIECE), "memfd: %s", strerror(errno));
}

/*
 * In a process of its own: VMs, and operations on them, those given or, if ops is NULL,
 * random ones, which it writes down before it does them.
 */
static void __noreturn run_vms(const struct op *ops, unsigned int nr, bool noise)
{
	struct mt_caps caps = {
		.eager_chunk = w.eager ? MT_BLOCK : 0, .ring_entries = w.ring ? RING_ENTRIES : 0,
	};
	void *(*noises[])(void *) = { read_memory, read_files };
	pthread_t threads[ARRAY_SIZE(noises)];
	unsigned int i;

	/* In an emulator, on a kernel that looks for its own bugs */
	alarm(600);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < NR_VMS; i++)
		w.vms[i] = mt_vm_create_vcpus(w.vcpus[i], NR_VCPUS, NR_PLACES * PIECE, &caps);
	w.hva = mt_mmap(-1, NR_PIECES * PIECE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	m.cacheable_pfnmap = mt_has_cacheable_pfnmap(w.vms[0]);
	m.flag = kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE);
	make_files();
	for (i = 0; i < NR_PIECES; i++)
		map(i, NOTHING);

	for (i = 0; noise && i < ARRAY_SIZE(noises); i++)
		pthread_create(&threads[i], NULL, noises[i], NULL);
	for (i = 0; i < nr; i++) {
		struct op op = ops ? ops[i] : random_op();

		shared->ops[i] = op;
		shared->nr = i + 1;
		run(&op);
	}
	run(&(struct op){ LOOK });
	WRITE_ONCE(w.stop, true);
	for (i = 0; noise && i < ARRAY_SIZE(noises); i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < NR_VMS; i++)
		kvm_vm_free(w.vms[i]);
	_exit(0);
}

static bool passes(const struct op *ops, unsigned int nr, bool noise, bool quiet)
{
	int status, null;
	pid_t pid;

	fflush(stdout);
	shared->nr = 0;
	if (noise && mt_trace_begin(TRACE))
		mt_write_file(TRACE "/events/kvm/kvm_s2_memtype/enable", "1");
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		null = quiet ? open("/dev/null", O_WRONLY) : -1;
		if (null >= 0) {
			dup2(null, STDOUT_FILENO);
			dup2(null, STDERR_FILENO);
		}
		run_vms(ops, nr, noise);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	if (noise)
		mt_trace_end(TRACE);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/*
 * Leave out what can be left out: half, then quarters, and so on, while there is time.
 * With noise, what fails need not fail again, and what is printed may be longer than it
 * had to be.
 */
static unsigned int shrink(struct op *ops, unsigned int nr, bool noise)
{
	time_t until = time(NULL) + SHRINK_SECONDS;
	struct op fewer[OPS_A_RUN];
	unsigned int len, start;

	for (len = nr / 2; len; len /= 2) {
		for (start = 0; start + len <= nr && time(NULL) < until;) {
			memcpy(fewer, ops, start * sizeof(*ops));
			memcpy(fewer + start, ops + start + len,
			       (nr - start - len) * sizeof(*ops));
			/* Or has not come to any of them */
			if (passes(fewer, nr - len, noise, true) || !shared->nr) {
				start += len;
				continue;
			}
			nr = min(nr - len, shared->nr);
			memcpy(ops, fewer, nr * sizeof(*ops));
		}
	}
	return nr;
}

static void print_ops(const struct op *ops, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		ksft_print_msg("	{ %s, %u, %u, %u, %u, %#x },\n", whats[ops[i].what],
			       ops[i].a, ops[i].b, ops[i].c, ops[i].d, ops[i].flags);
}

static void share(void)
{
	mt_require_pfnmap();
	choose_pages();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(shared != MAP_FAILED, "mmap: %s", strerror(errno));
}

/* What has failed once, or might: as it is printed */
static const struct regression {
	const char *what;
	bool eager;
	bool ring;
	unsigned int nr;
	struct op ops[16];
} regressions[] = {
	{
		"a page of a block is mapped while its slot is logged, then all of it",
		false, false, 7, {
			{ MAP, 0, ANON, 0, 0, 0 },
			{ SLOT, 0, 0, 1, 0, KVM_MEM_LOG_DIRTY_PAGES },
			{ MAP, 0, NC_BLOCKS, 0, 0, 0 },
			{ LOAD, 0, 0, 0, 0, 0 },
			{ SLOT, 0, 0, 1, 0, 0 },
			{ STORE, 0, 0, 0, 0, 0 },
			{ LOAD, 0, 3, 0, 0, 0 },
		},
	},
	{
		"a flagged block is split eagerly",
		true, false, 5, {
			{ MAP, 0, NC_BLOCKS, 0, 0, 0 },
			{ SLOT, 0, 0, 1, 0, KVM_MEM_NONCACHEABLE },
			{ STORE, 0, 0, 0, 0, 0 },
			{ SLOT, 0, 0, 1, 0, KVM_MEM_NONCACHEABLE | KVM_MEM_LOG_DIRTY_PAGES },
			{ LOOK, 0, 0, 0, 0, 0 },
		},
	},
};

static unsigned int nr_ops(void)
{
	return mt_number("MT_OPS", 10000);
}

static void announce(unsigned int seed)
{
	ksft_print_msg("MT_OPS=%u MT_SEED=%u\n", nr_ops(), seed);
}

static void fuzz(unsigned int first, bool noise)
{
	unsigned int left = nr_ops(), seed = first, nr;
	struct op ops[OPS_A_RUN];
	time_t said = time(NULL);

	share();
	for (; left; left -= nr, seed++) {
		if (time(NULL) >= said + PROGRESS_SECONDS) {
			ksft_print_msg("MT_SEED=%u: %u of %u operations\n", first,
				       nr_ops() - left, nr_ops());
			said = time(NULL);
		}
		nr = min_t(unsigned int, left, OPS_A_RUN);
		srandom(seed);
		w.eager = seed & 1;
		w.ring = seed & 2;
		if (passes(NULL, nr, noise, false))
			continue;
		nr = shared->nr;
		TEST_ASSERT(nr, "MT_SEED=%u: it does not come to the first operation", seed);
		memcpy(ops, shared->ops, sizeof(ops));
		ksft_print_msg("MT_SEED=%u: operation %u fails; looking for less that does%s%s\n",
			       seed, nr, w.eager ? ", with eager splitting" : "",
			       w.ring ? ", with the dirty ring" : "");
		nr = shrink(ops, nr, noise);
		print_ops(ops, nr);
		TEST_FAIL("%u operations fail, MT_SEED=%u%s", nr, seed,
			  passes(ops, nr, noise, false) ? ", not each time" : "");
	}
}

/* Hours, where somebody wants a million */
#define FUZZ_TIMEOUT	(6 * 3600)

FIXTURE(fuzz) {
};

FIXTURE_SETUP(fuzz)
{
	MT_SKIP_TO_HARNESS();
}

FIXTURE_TEARDOWN(fuzz)
{
}

/*
 * The controller's memory buffer sleeps and can be reset, but the emulator has it as a
 * device. An access to one that meets a change of the memory map by another CPU can go
 * astray there (selftests/rig/boot.sh): with others beside, the BAR is one that is RAM.
 */
TEST_F(fuzz, regressions)
{
	int i;

	w.bar = memory_bar_or_none(SZ_64M);

	share();
	for (i = 0; i < ARRAY_SIZE(regressions); i++) {
		const struct regression *reg = &regressions[i];

		w.eager = reg->eager;
		w.ring = reg->ring;
		TEST_ASSERT(passes(reg->ops, reg->nr, false, false), "%s", reg->what);
	}
}

TEST_F_TIMEOUT(fuzz, alone, FUZZ_TIMEOUT)
{
	unsigned int seed = mt_seed();

	w.bar = mt_in_rig() ? &bars[BAR_CMB] : memory_bar_or_none(SZ_16M);
	announce(seed);
	fuzz(seed, false);
}

TEST_F_TIMEOUT(fuzz, noise, FUZZ_TIMEOUT)
{
	unsigned int seed = mt_seed();

	w.bar = memory_bar_or_none(SZ_64M);
	announce(seed);
	fuzz(seed, true);
}

TEST_F_TIMEOUT(fuzz, two, FUZZ_TIMEOUT)
{
	/* One seed gives both, which do not do the same */
	unsigned int seed = mt_seed(), second = seed + 0x10000000;
	int status;
	pid_t pid;

	mt_rig_only("it takes two BARs");
	/* Two at once would be one in the middle of the other */
	announce(seed);
	announce(second);
	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
	w.second = !pid;
	w.bar = &bars[w.second ? BAR_BOCHS : BAR_IVSHMEM];
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	fuzz(pid ? seed : second, false);
	if (!pid)
		_exit(0);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status), "The second one fails: %#x",
		    status);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN
