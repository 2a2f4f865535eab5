// SPDX-License-Identifier: GPL-2.0
/*
 * s2_audit - The audit of memory types tells what is, and tells it safely
 *
 * KVM's memtype_audit in debugfs must list each guest page that is mapped, and
 * no other, with the types that the page really has, and a verdict that follows
 * from them; whoever looks for MISMATCH finds all that is wrong, and nothing
 * else. It must do so while the guest, the VMM and the owner of the memory change
 * the mappings, for a guest of any size, after the VMM has died, and for root
 * alone. The tracepoint must tell of the same decision.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/capability.h>
#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"

/* Two blocks of 4K pages; and what has blocks in all kernels */
#define SIZE		(1024 * MT_PAGE)
#define BLOCKS		(2 * MT_BLOCK)
#define OTHER_SLOT	(MT_SLOT + 1)
#define OTHER_GPA	(MT_GPA + SIZE)
/* A window of pieces that are put over each other with MAP_FIXED */
#define WINDOW_SLOT	(MT_SLOT + 2)
#define WINDOW_GPA	(OTHER_GPA + SIZE)
#define PIECE		(16 * MT_PAGE)
#define NR_PIECES	8
#define WINDOW_SIZE	(NR_PIECES * PIECE)

#define WB		"NORMAL-WB"
#define NC		"NORMAL-NC"
#define DEVICE		"DEVICE"
#define NONE		"-"
#define MISMATCH	"MISMATCH:"

struct line {
	int slot;		/* -1 if there is none */
	u64 start;
	u64 end;
	u64 pfn;
	u64 pfn_end;
	bool scattered;
	char s2[16];
	char host[16];
	bool linear;
	char verdict[128];
};

struct audit {
	bool fwb;
	size_t nr;
	struct line *lines;
	u64 pages;
	u64 ranges;
	u64 if_guest_wb;
	u64 if_guest_nc;
	u64 mismatched_pages;
	u64 mismatched_ranges;
	bool incomplete;
};

static void audit_path(struct kvm_vm *vm, char *path, size_t size)
{
	snprintf(path, size, "/sys/kernel/debug/kvm/%d-%d/memtype_audit", getpid(), vm->fd);
}

static FILE *audit_open(struct kvm_vm *vm)
{
	char path[96];
	FILE *f;

	audit_path(vm, path, sizeof(path));
	f = fopen(path, "r");
	TEST_ASSERT(f, "%s: %s", path, strerror(errno));
	return f;
}

static bool parse_line(const char *text, struct line *l)
{
	char slot[8], linear[8], sep;

	if (sscanf(text, " %7s 0x%lx-0x%lx 0x%lx%c0x%lx %15s %15s %7s %127[^\n]", slot,
		   &l->start, &l->end, &l->pfn, &sep, &l->pfn_end, l->s2, l->host,
		   linear, l->verdict) != 10)
		return false;

	l->slot = strcmp(slot, "-") ? atoi(slot) : -1;
	l->scattered = sep == '~';
	l->linear = !strcmp(linear, "yes");
	return l->start < l->end && l->pfn < l->pfn_end && (l->linear || !strcmp(linear, "no"));
}

#define SUMMARY_REST	" %lu pages ok-if-guest-WB,"			\
			" %lu pages in %lu ranges mismatched,"		\
			" %lu pages ok-if-guest-NC%63[^\n]"

/* Reads on from where the file stands. Whatever is there must be well formed. */
static struct audit audit_parse(FILE *f)
{
	struct audit a = {};
	bool header = false, summary = false;
	u64 pages = 0, mismatched = 0;
	char text[256], fwb[8], rest[64];
	size_t room = 0;
	struct line l;
	int len;

	while (fgets(text, sizeof(text), f)) {
		TEST_ASSERT(!summary, "After the summary: %s", text);
		if (sscanf(text, "# FEAT_S2FWB: %7[a-z]", fwb) == 1) {
			TEST_ASSERT(!header, "Another header: %s", text);
			a.fwb = !strcmp(fwb, "yes");
			header = true;
			continue;
		}
		TEST_ASSERT(header, "No header: %s", text);
		if (!strncmp(text, " slot ", 6))
			continue;
		*rest = '\0';
		if (sscanf(text, "summary: %lu pages in %lu ranges,%n", &a.pages,
			   &a.ranges, &len) == 2) {
			TEST_ASSERT(sscanf(text + len, SUMMARY_REST, &a.if_guest_wb,
					   &a.mismatched_pages, &a.mismatched_ranges,
					   &a.if_guest_nc, rest) >= 4,
				    "Malformed: %s", text);
			a.incomplete = strstr(rest, "incomplete");
			summary = true;
			continue;
		}
		TEST_ASSERT(parse_line(text, &l), "Malformed: %s", text);
		TEST_ASSERT(!a.nr || l.start >= a.lines[a.nr - 1].end, "Not in order: %s", text);
		TEST_ASSERT(l.scattered || l.end - l.start == (l.pfn_end - l.pfn) * MT_PAGE,
			    "Guest and host range differ in length: %s", text);
		pages += (l.end - l.start) / MT_PAGE;
		mismatched += !strncmp(l.verdict, MISMATCH, strlen(MISMATCH));
		if (a.nr == room) {
			room = room ? 2 * room : 64;
			a.lines = realloc(a.lines, room * sizeof(l));
			TEST_ASSERT(a.lines, "Out of memory");
		}
		a.lines[a.nr++] = l;
	}

	TEST_ASSERT(summary, "No summary");
	TEST_ASSERT_EQ(a.ranges, a.nr);
	TEST_ASSERT_EQ(a.pages, pages);
	TEST_ASSERT_EQ(a.mismatched_ranges, mismatched);
	return a;
}

static struct audit audit_read(struct kvm_vm *vm)
{
	FILE *f = audit_open(vm);
	struct audit a = audit_parse(f);

	fclose(f);
	return a;
}

static void audit_free(struct audit *a)
{
	free(a->lines);
}

static void audit_print(const struct audit *a)
{
	size_t i;

	for (i = 0; i < a->nr; i++) {
		const struct line *l = &a->lines[i];

		ksft_print_msg("%d %#lx-%#lx %#lx-%#lx %s %s %d %s\n", l->slot, l->start,
			       l->end, l->pfn, l->pfn_end, l->s2, l->host, l->linear,
			       l->verdict);
	}
}

/* What the lines of a slot have to be, in order; they end with an empty one */
struct expected {
	u64 start;
	u64 end;
	const char *s2;
	const char *host;
	bool linear;
	const char *verdict;
};

static void expect_slot(const struct audit *a, int slot, const struct expected *e)
{
	const struct line *l = a->lines;
	size_t i;

	for (i = 0; i < a->nr; i++, l++) {
		if (l->slot != slot)
			continue;
		if (!e->s2 || l->start != e->start || l->end != e->end ||
		    strcmp(l->s2, e->s2) || strcmp(l->host, e->host) ||
		    l->linear != e->linear || strcmp(l->verdict, e->verdict)) {
			audit_print(a);
			TEST_FAIL("%#lx-%#lx %s %s %d '%s', expected %#lx-%#lx %s %s %d '%s'",
				  l->start, l->end, l->s2, l->host, l->linear, l->verdict,
				  e->start, e->end, e->s2 ?: "nothing", e->host ?: "", e->linear,
				  e->verdict ?: "");
		}
		e++;
	}
	if (e->s2) {
		audit_print(a);
		TEST_FAIL("slot %d: nothing more, expected %#lx-%#lx %s", slot, e->start,
			  e->end, e->s2);
	}
}

/* What Write-Back RAM is called: without FWB, it is the guest that decides */
static const char *ram_verdict(const struct audit *a)
{
	return a->fwb ? "ok" : "ok-if-guest-WB";
}

/* The VM's own memory, slot 0, is RAM. Nothing may be said against it. */
static void expect_nothing_else(const struct audit *a)
{
	size_t i;

	for (i = 0; i < a->nr; i++) {
		if (a->lines[i].slot)
			continue;
		TEST_ASSERT(!strcmp(a->lines[i].s2, WB) && !strcmp(a->lines[i].host, WB) &&
			    a->lines[i].linear && !strcmp(a->lines[i].verdict, ram_verdict(a)),
			    "RAM at %#lx: %s %s '%s'", a->lines[i].start, a->lines[i].s2,
			    a->lines[i].host, a->lines[i].verdict);
	}
}

static void add_slot(struct kvm_vm *vm, int slot, u32 flags, u64 gpa, u64 size, void *hva)
{
	int ret = __vm_set_user_memory_region2(vm, slot, flags, gpa, size, hva, 0, 0);

	TEST_ASSERT(!ret, "Slot %d: %s", slot, strerror(errno));
}

static void *map_config(const struct memtype_test_config *config, u64 size, u64 offset,
			int *fd)
{
	*fd = mt_test_open(config);
	return mt_mmap(*fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, offset);
}

static void write_file(const char *path, const char *val)
{
	TEST_ASSERT(mt_write_file(path, val), "%s: %s", path, strerror(errno));
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* How long it is read while all of it changes */
static unsigned int churn_seconds(void)
{
	return mt_number("MT_SECONDS", 8);
}

FIXTURE(audit) {
};

FIXTURE_SETUP(audit)
{
	MT_SKIP_TO_HARNESS();
}

FIXTURE_TEARDOWN(audit)
{
}

/* ---- the file ---- */

TEST_F(audit, absent_in_protected_mode)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct stat st;
	char path[96];
	int ret;

	vm = mt_vm_create(&vcpu, SIZE);
	audit_path(vm, path, sizeof(path));
	ret = stat(path, &st);
	TEST_ASSERT(!ret == !mt_host_is_pkvm(), "%s: stat() is %d", path, ret);
	if (!ret)
		TEST_ASSERT_EQ(st.st_mode & 07777, 0400);
	*strrchr(path, '/') = '\0';
	TEST_ASSERT(!stat(path, &st), "%s: %s", path, strerror(errno));
	kvm_vm_free(vm);
}

TEST_F(audit, root_only)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char path[96], *dir;
	int status, fd;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	audit_path(vm, path, sizeof(path));

	/* From inside the directory, it is the file itself that has to refuse */
	dir = strrchr(path, '/');
	*dir = '\0';
	if (!fork()) {
		if (chdir(path) || setresgid(65534, 65534, 65534) ||
		    setresuid(65534, 65534, 65534) || access(".", R_OK | X_OK))
			_exit(2);
		fd = open("memtype_audit", O_RDONLY);
		_exit(fd < 0 && errno == EACCES ? 0 : 1);
	}
	wait(&status);
	*dir = '/';
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
		    "Opening it as nobody: status %#x", status);

	fd = open(path, O_RDONLY);
	TEST_ASSERT(fd >= 0, "Opening it as root: %d", fd);
	close(fd);
	kvm_vm_free(vm);
}

/* Where memory is, is for those who may know it; all else is shown */
TEST_F(audit, addresses_by_capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char text[256];
	u64 from, to;
	int nr = 0;
	FILE *f;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, mt_anon(SIZE)), 0);
	mt_access_ok(vcpu, MT_STR, MT_GPA, 1);

	TEST_ASSERT(!syscall(SYS_capget, &header, caps), "capget: %s", strerror(errno));
	caps[0].effective &= ~BIT(CAP_SYS_ADMIN);
	TEST_ASSERT(!syscall(SYS_capset, &header, caps), "capset: %s", strerror(errno));
	f = audit_open(vm);
	/* It is who has opened the file that counts */
	caps[0].effective |= BIT(CAP_SYS_ADMIN);
	TEST_ASSERT(!syscall(SYS_capset, &header, caps), "capset: %s", strerror(errno));
	while (fgets(text, sizeof(text), f)) {
		if (sscanf(text, " %*s 0x%*x-0x%*x 0x%lx%*c0x%lx ", &from, &to) != 2)
			continue;
		TEST_ASSERT(!from && !to, "It has addresses: %s", text);
		nr++;
	}
	TEST_ASSERT(nr, "No line");
	fclose(f);
	kvm_vm_free(vm);
}

TEST_F(audit, read_again)
{
	struct audit first, second;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char start[128], buf[8];
	FILE *f;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, mt_anon(SIZE)), 0);
	mt_access_ok(vcpu, MT_STR, MT_GPA, 1);

	f = audit_open(vm);
	setvbuf(f, NULL, _IONBF, 0);
	first = audit_parse(f);

	/* From the start it is made anew */
	mt_access_ok(vcpu, MT_STR, MT_GPA + SIZE / 2, 1);
	rewind(f);
	second = audit_parse(f);
	TEST_ASSERT(second.pages > first.pages, "%lu pages, then %lu", first.pages,
		    second.pages);

	/* A part of it can be read from anywhere */
	rewind(f);
	TEST_ASSERT(fgets(start, sizeof(start), f), "No header");
	TEST_ASSERT_EQ(pread(fileno(f), buf, 8, 2), 8);
	TEST_ASSERT(!strncmp(buf, start + 2, 8), "'%.8s' is not in '%s'", buf, start);

	audit_free(&first);
	audit_free(&second);
	fclose(f);
	kvm_vm_free(vm);
}

/* ---- one mapping ---- */

/* With FEAT_S2FWB the guest has it Write-Back, without it can have it as the host has */
#define HOST_OR_GUEST	"by FEAT_S2FWB"

static const struct {
	const char *name;
	struct memtype_test_config config;
	bool needs_cacheable_pfnmap;
	struct expected want;		/* start and end are those of the slot */
} mappings[] = {
#define MAPPING(_vma, _pte, _flags, _s2, _host, _linear, _verdict)		\
	{ #_vma " VMA, " #_pte " PTE, " #_flags,				\
	  { .vma_type = MEMTYPE_TEST_##_vma, .pte_type = MEMTYPE_TEST_##_pte,	\
	    .flags = _flags }, false, { 0, 0, _s2, _host, _linear, _verdict } }
	MAPPING(NC, NC, MEMTYPE_TEST_GRANT, NC, NC, false, "ok"),
	MAPPING(NC, NC, MEMTYPE_TEST_PMD | MEMTYPE_TEST_GRANT, NC, NC, false, "ok"),
	MAPPING(NC, NC, 0, NC, NC, false, "ok"),
	MAPPING(WB, NC, 0, NC, NC, false, "ok"),
	MAPPING(DEVICE, DEVICE, MEMTYPE_TEST_GRANT, NC, DEVICE, false, "ok"),
	MAPPING(DEVICE, DEVICE, 0, DEVICE, DEVICE, false, "ok"),
	MAPPING(WB, NC, MEMTYPE_TEST_GRANT, NC, NC, false, "ok"),
	/* The host's mapping is cacheable, the guest's is not */
	MAPPING(NC, WB, MEMTYPE_TEST_GRANT, NC, WB, false, "MISMATCH: host"),
	MAPPING(DEVICE, WB, 0, DEVICE, WB, false, "MISMATCH: host"),
	/* The kernel's is, and it is the owner who has made two mappings of it */
	MAPPING(NC, NC, MEMTYPE_TEST_ALIAS | MEMTYPE_TEST_GRANT, NC, NC, true,
		"ok-but-linear"),
	MAPPING(DEVICE, DEVICE, MEMTYPE_TEST_ALIAS, DEVICE, DEVICE, true,
		"ok-but-linear"),
	MAPPING(NC, WB, MEMTYPE_TEST_ALIAS | MEMTYPE_TEST_GRANT, NC, WB, true,
		"MISMATCH: host, linear"),
	/* RAM that its driver maps uncached */
	MAPPING(NC, NC, MEMTYPE_TEST_RAM, NC, NC, true, "ok-but-linear"),
	MAPPING(WB, NC, MEMTYPE_TEST_RAM, NC, NC, true, "ok-but-linear"),
	/* The guest's mapping is cacheable, if nothing else decides, the host's is not */
	MAPPING(DEVICE, DEVICE, MEMTYPE_TEST_RAM, WB, DEVICE, true, HOST_OR_GUEST),
	{ "WB, with FWB and DIC",
	  { .vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_WB }, true,
	  { 0, 0, WB, WB, false, "ok" } },
};

static u64 size_of(const struct memtype_test_config *config)
{
	return mt_test_size(config, config->flags & MEMTYPE_TEST_PMD ? BLOCKS : SIZE);
}

static void check_mapping(int i, u32 slot_flags)
{
	const struct memtype_test_config *config = &mappings[i].config;
	struct expected want[2] = { mappings[i].want };
	u64 size = size_of(config), at = size / 4;
	struct memtype_test_pte pte;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct audit a;
	void *hva;
	int fd;

	vm = mt_vm_create(&vcpu, size);
	if (mappings[i].needs_cacheable_pfnmap && !mt_has_cacheable_pfnmap(vm)) {
		kvm_vm_free(vm);
		return;
	}
	hva = map_config(config, size, 0, &fd);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, size, hva), 0);

	/* What the guest has not touched is not mapped, and not listed */
	a = audit_read(vm);
	expect_slot(&a, MT_SLOT, &want[1]);
	audit_free(&a);

	mt_access_ok(vcpu, MT_FILL, MT_GPA, size / MT_PAGE);
	pte = mt_host_pte(fd, hva);
	a = audit_read(vm);
	want[0].start = MT_GPA;
	want[0].end = MT_GPA + size;
	if (!strcmp(want[0].verdict, HOST_OR_GUEST)) {
		want[0].verdict = a.fwb ? "MISMATCH: host" : "ok-if-guest-NC";
		TEST_ASSERT_EQ(a.if_guest_nc, a.fwb ? 0 : size / MT_PAGE);
	}
	expect_slot(&a, MT_SLOT, want);
	expect_nothing_else(&a);
	TEST_ASSERT_EQ(a.lines[a.nr - 1].slot, MT_SLOT);
	TEST_ASSERT_EQ(a.lines[a.nr - 1].pfn * MT_PAGE, pte.phys);
	TEST_ASSERT_EQ(a.mismatched_pages, *want[0].verdict == 'M' ? size / MT_PAGE : 0);
	if (mt_has_cacheable_pfnmap(vm))
		TEST_ASSERT(a.fwb, "FWB and DIC, but not FWB");
	audit_free(&a);

	if (!(config->flags & MEMTYPE_TEST_RAM)) {
		mt_zap(fd, at, MT_PAGE);
		a = audit_read(vm);
		if (config->flags & MEMTYPE_TEST_PMD) {
			want[0].start = MT_GPA + MT_BLOCK;
			expect_slot(&a, MT_SLOT, want);
		} else {
			struct expected around[3] = { want[0], want[0] };

			around[0].end = MT_GPA + at;
			around[1].start = MT_GPA + at + MT_PAGE;
			expect_slot(&a, MT_SLOT, around);
		}
		audit_free(&a);
	}
	kvm_vm_free(vm);
	munmap(hva, size);
	close(fd);
}

TEST_F(audit, each_mapping)
{
	int i;

	mt_require_pfnmap();
	for (i = 0; i < ARRAY_SIZE(mappings); i++) {
		ksft_print_msg("%s\n", mappings[i].name);
		check_mapping(i, 0);
	}
}

/* What the flag accepts never has a mismatched alias */
TEST_F(audit, flagged)
{
	mt_require_noncacheable();
	check_mapping(0, KVM_MEM_NONCACHEABLE);
	check_mapping(1, KVM_MEM_NONCACHEABLE);
	check_mapping(2, KVM_MEM_NONCACHEABLE);
	check_mapping(3, KVM_MEM_NONCACHEABLE);
}

static void check_ram(void *hva, u64 size)
{
	struct expected want[2] = {
		{ MT_GPA, MT_GPA + size, WB, WB, true },
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct audit a;

	TEST_ASSERT(hva, "No huge pages");
	vm = mt_vm_create(&vcpu, size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, size, hva), 0);
	mt_access_ok(vcpu, MT_FILL, MT_GPA, size / MT_PAGE);
	a = audit_read(vm);
	want[0].verdict = ram_verdict(&a);
	expect_slot(&a, MT_SLOT, want);
	expect_nothing_else(&a);
	TEST_ASSERT_EQ(a.if_guest_wb, a.fwb ? 0 : a.pages);
	TEST_ASSERT_EQ(a.mismatched_pages, 0);
	audit_free(&a);
	kvm_vm_free(vm);
}

TEST_F(audit, ram)
{
	void *hva;
	u64 i;

	mt_require_pfnmap();
	hva = mt_anon(SIZE);
	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	/* Pages that are next to each other in the guest, but not in the host */
	for (i = 0; i < SIZE; i += MT_PAGE)
		WRITE_ONCE(*(u64 *)(hva + (i * 37 & (SIZE - 1))), 1);
	check_ram(hva, SIZE);

	hva = mt_anon(BLOCKS);
	madvise(hva, BLOCKS, MADV_HUGEPAGE);
	check_ram(hva, BLOCKS);
	munmap(hva, BLOCKS);

	check_ram(mt_hugetlb(BLOCKS), BLOCKS);
}

TEST_F(audit, guest_memfd)
{
	struct expected want[2] = {
		{ MT_GPA, MT_GPA + MT_PAGE, WB, NONE, true },
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct audit a;
	void *hva;
	int fd;

	mt_require_pfnmap();
	if (!kvm_has_cap(KVM_CAP_GUEST_MEMFD))
		mt_skip("no guest_memfd");
	vm = mt_vm_create(&vcpu, SIZE);
	fd = vm_create_guest_memfd(vm, SIZE, GUEST_MEMFD_FLAG_MMAP |
				   GUEST_MEMFD_FLAG_INIT_SHARED);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	TEST_ASSERT(!__vm_set_user_memory_region2(vm, MT_SLOT, KVM_MEM_GUEST_MEMFD, MT_GPA,
						  SIZE, hva, fd, 0),
		    "guest_memfd slot: %s", strerror(errno));
	mt_access_ok(vcpu, MT_STR, MT_GPA, 1);
	a = audit_read(vm);
	want[0].verdict = ram_verdict(&a);
	expect_slot(&a, MT_SLOT, want);
	audit_free(&a);
	kvm_vm_free(vm);
}

/* ---- one page, two types ---- */

static const struct memtype_test_config nc_granted = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
	.flags = MEMTYPE_TEST_GRANT,
}, nc_blocks = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
	.flags = MEMTYPE_TEST_GRANT | MEMTYPE_TEST_PMD,
}, device = {
	.vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE,
}, wb = {
	.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_WB,
};

/* The second slot has the second quarter of the first */
static void two_slots(const struct memtype_test_config *first, const char *first_type,
		      const char *first_host, const struct memtype_test_config *second,
		      const char *second_type, const char *second_host)
{
	const u64 size = size_of(first), part = size / 4, other_gpa = MT_GPA + size;
	char first_verdict[80], second_verdict[80];
	struct expected first_want[] = {
		{ MT_GPA, MT_GPA + part, first_type, first_host, false, "ok" },
		{ MT_GPA + part, MT_GPA + 2 * part, first_type, first_host, false, first_verdict },
		{ MT_GPA + 2 * part, MT_GPA + size, first_type, first_host, false, "ok" },
		{}
	};
	struct expected second_want[] = {
		{ other_gpa, other_gpa + part, second_type, second_host, false, second_verdict },
		{}
	};
	struct expected alone[] = {
		{ MT_GPA, MT_GPA + size, first_type, first_host, false, "ok" }, {}
	};
	bool same = !strcmp(first_type, second_type);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct audit a;
	void *hva, *hva2;
	int fd, fd2;

	snprintf(first_verdict, sizeof(first_verdict), "MISMATCH: %s at %#lx (slot %d)",
		 second_type, other_gpa, OTHER_SLOT);
	snprintf(second_verdict, sizeof(second_verdict), "MISMATCH: %s at %#lx (slot %d)",
		 first_type, MT_GPA + part, MT_SLOT);
	if (same)
		snprintf(second_verdict, sizeof(second_verdict), "ok");

	vm = mt_vm_create(&vcpu, size + part);
	hva = map_config(first, size, 0, &fd);
	hva2 = map_config(second, part, part, &fd2);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, size, hva), 0);
	add_slot(vm, OTHER_SLOT, 0, other_gpa, part, hva2);
	mt_access_ok(vcpu, MT_FILL, MT_GPA, size / MT_PAGE);
	a = audit_read(vm);
	expect_slot(&a, MT_SLOT, alone);
	audit_free(&a);

	mt_access_ok(vcpu, MT_FILL, other_gpa, part / MT_PAGE);
	a = audit_read(vm);
	expect_slot(&a, MT_SLOT, same ? alone : first_want);
	expect_slot(&a, OTHER_SLOT, second_want);
	TEST_ASSERT_EQ(a.mismatched_pages, same ? 0 : 2 * part / MT_PAGE);
	TEST_ASSERT_EQ(a.mismatched_ranges, same ? 0 : 2);
	TEST_ASSERT(!a.incomplete, "Incomplete");
	expect_nothing_else(&a);
	audit_free(&a);

	add_slot(vm, OTHER_SLOT, 0, other_gpa, 0, hva2);
	a = audit_read(vm);
	expect_slot(&a, MT_SLOT, alone);
	audit_free(&a);

	kvm_vm_free(vm);
	munmap(hva, size);
	munmap(hva2, part);
	close(fd);
	close(fd2);
}

TEST_F(audit, two_slots_nc_device)
{
	mt_require_pfnmap();
	two_slots(&nc_granted, NC, NC, &device, DEVICE, DEVICE);
	two_slots(&nc_blocks, NC, NC, &device, DEVICE, DEVICE);
	two_slots(&device, DEVICE, DEVICE, &nc_granted, NC, NC);
}

TEST_F(audit, two_slots_same)
{
	mt_require_pfnmap();
	two_slots(&nc_granted, NC, NC, &nc_granted, NC, NC);
	two_slots(&nc_blocks, NC, NC, &nc_granted, NC, NC);
}

/* The VMM's two mappings, taken each with its slot, are right */
TEST_F(audit, two_slots_wb)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	bool can;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, SIZE);
	can = mt_has_cacheable_pfnmap(vm);
	kvm_vm_free(vm);
	if (!can)
		mt_skip("no Write-Back PFNMAP memory without FWB and DIC");
	two_slots(&nc_blocks, NC, NC, &wb, WB, WB);
	two_slots(&wb, WB, WB, &device, DEVICE, DEVICE);
}

/* ---- size ---- */

/* As large as the guest's address space, and next to nothing is mapped */
TEST_F(audit, sparse)
{
	struct expected want[65] = {};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u64 size, stride;
	struct audit a;
	double t;
	void *hva;
	int i;

	mt_require_pfnmap();
	/* The guest's page tables take more than libkvm reckons with for a page */
	vm = mt_vm_create(&vcpu, SIZE);
	size = (1UL << vm->pa_bits) - SZ_4G;
	hva = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_ASSERT(hva != MAP_FAILED, "%#lx bytes: %s", size, strerror(errno));
	add_slot(vm, OTHER_SLOT, 0, SZ_4G, size, hva);

	stride = size / 64 & ~(MT_PAGE - 1);
	for (i = 0; i < 64; i++) {
		want[i] = (struct expected) {
			SZ_4G + i * stride, SZ_4G + i * stride + MT_PAGE, WB, WB, true
		};
		virt_pg_map(vm, want[i].start, want[i].start);
		mt_access_ok(vcpu, MT_STR, want[i].start, 1);
	}
	t = seconds();
	a = audit_read(vm);
	t = seconds() - t;
	for (i = 0; i < 64; i++)
		want[i].verdict = ram_verdict(&a);
	expect_slot(&a, OTHER_SLOT, want);
	audit_free(&a);
	ksft_print_msg("%lu GiB, 64 pages mapped: %.3f s\n", size >> 30, t);
	TEST_ASSERT(t < 10, "It takes %.1f s", t);
	kvm_vm_free(vm);
	munmap(hva, size);
}

static long free_kb(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char text[80];
	long kb = -1;

	while (f && fgets(text, sizeof(text), f) &&
	       sscanf(text, "MemFree: %ld", &kb) != 1)
		;
	if (f)
		fclose(f);
	return kb;
}

/* More ranges than it remembers: it says so, and still lists them all */
TEST_F_TIMEOUT(audit, limit, 300)
{
	const u64 nr = 70000, size = 2 * nr * MT_PAGE;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct audit a;
	long before, used;
	char text[256];
	double t;
	void *hva;
	u64 at, step;
	FILE *f;
	int fd;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, size);
	/* As often as it takes, where the module does not have as much */
	fd = mt_test_open(&nc_granted);
	for (step = SZ_1G; step > SZ_1M; step /= 2) {
		hva = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (hva != MAP_FAILED)
			break;
	}
	munmap(hva, step);
	hva = mt_mmap(-1, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	for (at = 0; at < size; at += step)
		TEST_ASSERT(mmap(hva + at, min_t(u64, step, size - at), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, fd, 0) == hva + at,
			    "mmap: %s", strerror(errno));
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, size, hva), 0);
	mt_access_ok(vcpu, MT_FILL_ODD, MT_GPA, nr);

	f = audit_open(vm);
	before = free_kb();
	TEST_ASSERT(fgets(text, sizeof(text), f), "Nothing");
	TEST_ASSERT(fgets(text, sizeof(text), f), "Nothing");
	TEST_ASSERT(fgets(text, sizeof(text), f), "Nothing");
	used = before - free_kb();
	fclose(f);

	t = seconds();
	a = audit_read(vm);
	t = seconds() - t;
	ksft_print_msg("%lu ranges: %.1f s, %ld KiB\n", a.ranges, t, used);
	TEST_ASSERT(a.incomplete, "It says that the search was complete");
	TEST_ASSERT(a.ranges >= nr && a.ranges < nr + 100, "%lu ranges", a.ranges);
	/* KASAN and kmemleak have memory of their own for each allocation */
	if (access("/sys/kernel/debug/kmemleak", F_OK))
		TEST_ASSERT(used < 16 * 1024, "%ld KiB", used);
	TEST_ASSERT(t < 60, "%.1f s", t);
	audit_free(&a);

	/* A slot less is as if nothing had been */
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, 0, hva), 0);
	a = audit_read(vm);
	TEST_ASSERT(!a.incomplete, "It says that the search was not complete");
	audit_free(&a);
	kvm_vm_free(vm);
	munmap(hva, size);
	close(fd);
}

/* ---- change ---- */

static struct {
	struct kvm_vcpu *vcpus[2];
	void *anon;
	void *window;
	/* What a piece of the window can be: RAM, Normal-NC, Device */
	int pieces[3];
	bool stop;
	u64 runs, zaps, slots, swaps, fills;
	struct mt_result failed;	/* a fill of the window that should not */
} churn;

/* The guest faults all of it in again and again, until a slot is gone */
static void *churn_vcpu(void *unused)
{
	for (; !READ_ONCE(churn.stop); churn.runs++)
		mt_access(churn.vcpus[0], MT_FILL, MT_GPA, 2 * SIZE / MT_PAGE);
	return NULL;
}

/* So does another with the window, where nothing is ever missing */
static void *churn_fills(void *unused)
{
	struct mt_result r;

	for (; !READ_ONCE(churn.stop); churn.fills++) {
		r = mt_access(churn.vcpus[1], MT_FILL, WINDOW_GPA, WINDOW_SIZE / MT_PAGE);
		if (r.run_errno || r.exit_reason || r.esr)
			churn.failed = r;
	}
	return NULL;
}

/* A piece is of another type from one moment to the next, and never missing */
static void *churn_window(void *unused)
{
	unsigned int i;

	for (i = 0; !READ_ONCE(churn.stop); i++) {
		u64 at = i * 5 % NR_PIECES * PIECE;

		if (mmap(churn.window + at, PIECE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, churn.pieces[i / 8 % 3], at) == MAP_FAILED)
			break;
		usleep(100);
	}
	churn.swaps = i;
	return NULL;
}

static void *churn_host(void *fd)
{
	unsigned int i;

	for (i = 0; !READ_ONCE(churn.stop); i++) {
		mt_zap((long)fd, (i * 7 % 1000) * MT_PAGE, 5 * MT_PAGE);
		madvise(churn.anon + (i * 13 % 1000) * MT_PAGE, 3 * MT_PAGE, MADV_DONTNEED);
		if (i % 64 == 0) {
			mprotect(churn.anon, SIZE / 2, PROT_READ);
			mprotect(churn.anon, SIZE / 2, PROT_READ | PROT_WRITE);
		}
		if (i % 256 == 0)
			madvise(churn.anon, SIZE, i % 512 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	}
	churn.zaps = i;
	return NULL;
}

static void *churn_slots(void *vm)
{
	for (; !READ_ONCE(churn.stop); churn.slots++) {
		add_slot(vm, OTHER_SLOT, 0, OTHER_GPA, 0, churn.anon);
		add_slot(vm, OTHER_SLOT, 0, OTHER_GPA, SIZE, churn.anon);
		usleep(3000);
	}
	return NULL;
}

TEST_F(audit, concurrent)
{
	const struct memtype_test_config piece_nc = {
		.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_NC, .offset = SIZE,
	}, piece_device = {
		.vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE,
		/* The same memory: of two types, but never at the same time */
		.offset = SIZE,
	};
	u64 reads = 0, listed = 0, in_window[3] = {};
	pthread_t vcpu, host, slots, window, fills;
	struct kvm_vm *vm;
	struct audit a;
	void *hva;
	double end;
	int fd;

	mt_require_noncacheable();
	vm = mt_vm_create_vcpus(churn.vcpus, 2, 3 * SIZE, NULL);
	hva = map_config(&nc_granted, SIZE, 0, &fd);
	churn.anon = mt_anon(SIZE);
	churn.pieces[0] = memfd_create("s2_audit", 0);
	TEST_ASSERT(churn.pieces[0] >= 0 && !ftruncate(churn.pieces[0], WINDOW_SIZE),
		    "memfd: %s", strerror(errno));
	churn.pieces[1] = mt_test_open(&piece_nc);
	churn.pieces[2] = mt_test_open(&piece_device);
	churn.window = mt_mmap(churn.pieces[0], WINDOW_SIZE, PROT_READ | PROT_WRITE,
			       MAP_SHARED, 0);
	add_slot(vm, WINDOW_SLOT, 0, WINDOW_GPA, WINDOW_SIZE, churn.window);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, hva), 0);
	add_slot(vm, OTHER_SLOT, 0, OTHER_GPA, SIZE, churn.anon);
	pthread_create(&vcpu, NULL, churn_vcpu, NULL);
	pthread_create(&host, NULL, churn_host, (void *)(long)fd);
	pthread_create(&slots, NULL, churn_slots, vm);
	pthread_create(&window, NULL, churn_window, NULL);
	pthread_create(&fills, NULL, churn_fills, NULL);

	/* Nothing in this VM is mismatched at any time */
	for (end = seconds() + churn_seconds(); seconds() < end; reads++) {
		size_t i;

		a = audit_read(vm);
		expect_nothing_else(&a);
		if (a.mismatched_pages) {
			audit_print(&a);
			TEST_FAIL("%lu pages are said to be mismatched", a.mismatched_pages);
		}
		for (i = 0; i < a.nr; i++) {
			const struct line *l = &a.lines[i];

			listed += l->slot == MT_SLOT || l->slot == OTHER_SLOT;
			if (l->slot == WINDOW_SLOT) {
				/* Whatever it is at that moment, it is so on both sides */
				TEST_ASSERT(!strcmp(l->s2, l->host), "%#lx: %s over %s",
					    l->start, l->s2, l->host);
				in_window[!strcmp(l->s2, WB) ? 0 : !strcmp(l->s2, NC) ? 1 : 2]++;
				continue;
			}
			if (l->slot == MT_SLOT)
				/* Stage 2 and the VMM's entries come and go together */
				TEST_ASSERT(!strcmp(l->s2, NC) && !strcmp(l->host, NC),
					    "%#lx: %s over %s", l->start, l->s2, l->host);
			else
				TEST_ASSERT(!strcmp(l->s2, WB), "%#lx: %s", l->start, l->s2);
		}
		audit_free(&a);
	}
	WRITE_ONCE(churn.stop, true);
	pthread_join(vcpu, NULL);
	pthread_join(host, NULL);
	pthread_join(slots, NULL);
	pthread_join(window, NULL);
	pthread_join(fills, NULL);
	ksft_print_msg("%lu reads of %lu ranges, under %lu runs, %lu zaps, %lu times two slots\n",
		       reads, listed, churn.runs, churn.zaps, churn.slots);
	ksft_print_msg("in the window, %lu swaps, %lu fills: %lu ranges WB, %lu NC, %lu Device\n",
		       churn.swaps, churn.fills, in_window[0], in_window[1], in_window[2]);
	TEST_ASSERT(!strcmp(mt_outcome(&churn.failed), "ok"), "A fill of the window: %s",
		    mt_outcome(&churn.failed));
	TEST_ASSERT(min(min(in_window[0], in_window[1]), in_window[2]), "A type was never there");
	TEST_ASSERT(min(reads, listed) > 3, "Too few reads");
	TEST_ASSERT(churn.runs && min(min(churn.zaps, churn.slots), churn.swaps) > 3,
		    "Too few changes");
	kvm_vm_free(vm);
}

/* ---- contiguous entries ---- */

/* What entries are folded for: 16 pages of 4K, 128 of 16K or 32 of 64K */
#define FOLD		(getpagesize() == SZ_4K ? SZ_64K : SZ_2M)
#define FOLD_NR		4
#define FOLD_SIZE	(FOLD_NR * FOLD)
/* Of reads and of rounds under them, however long it takes; more pages take longer */
#define FOLD_MIN	20
#define MTHP		"/sys/kernel/mm/transparent_hugepage/hugepages-%dkB/enabled"
#define CONTPTE		"/sys/module/memtype_test/parameters/contpte"

static struct {
	void *hva;
	bool stop;
	u64 rounds, unfolds, folds;
} folding;

/* Whether the kernel folds entries */
static bool has_contpte(void)
{
	FILE *f = fopen(CONTPTE, "r");
	int c = f ? fgetc(f) : EOF;

	TEST_ASSERT(c == 'Y' || c == 'N', "%s: %s", CONTPTE, strerror(errno));
	fclose(f);
	return c == 'Y';
}

/*
 * For one page of 16, or more, core mm unfolds their entries, and folds them when the
 * last is like the others again. It clears all for that, and tells only of the one.
 */
static void *fold_and_unfold(void *unused)
{
	u64 i;

	for (i = 0; !READ_ONCE(folding.stop); i++) {
		void *block = folding.hva + i % FOLD_NR * FOLD;
		void *last = block + FOLD - MT_PAGE;

		if (mprotect(last, MT_PAGE, PROT_READ))
			break;
		folding.unfolds += !host_pte(block).cont;
		if (mprotect(last, MT_PAGE, PROT_READ | PROT_WRITE))
			break;
		folding.folds += host_pte(block).cont;
	}
	folding.rounds = i;
	return NULL;
}

static u64 expect_folding(const struct audit *a)
{
	u64 pages = 0;
	size_t i;

	for (i = 0; i < a->nr; i++) {
		const struct line *l = &a->lines[i];

		if (l->slot != MT_SLOT)
			continue;
		if (strcmp(l->s2, WB) || strcmp(l->host, WB) || !l->linear ||
		    strcmp(l->verdict, ram_verdict(a))) {
			audit_print(a);
			TEST_FAIL("%#lx-%#lx: %s over %s, '%s'", l->start, l->end, l->s2,
				  l->host, l->verdict);
		}
		pages += (l->end - l->start) / MT_PAGE;
	}
	return pages;
}

/*
 * The file must not take an entry for none that is being folded or unfolded, not even
 * if the CPU is taken away from who does it, as happens on a busy host. Nothing else
 * happens to these pages: they stay mapped at stage 2, and the vCPU rests. The file
 * says nothing of PTE_CONT; memtype_test does.
 */
TEST_F(audit, contiguous)
{
	u64 reads, pages = FOLD_SIZE / MT_PAGE;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct audit a;
	pthread_t thread;
	char mthp[96];
	double end;
	int i;

	mt_require_pfnmap();
	vm = mt_vm_create(&vcpu, FOLD_SIZE);
	folding.hva = mt_anon(FOLD_SIZE);
	snprintf(mthp, sizeof(mthp), MTHP, FOLD / SZ_1K);
	write_file(mthp, "always");
	memset(folding.hva, 1, FOLD_SIZE);
	write_file(mthp, "never");
	for (i = 0; i < FOLD_NR; i++)
		TEST_ASSERT_EQ(host_pte(folding.hva + i * FOLD).cont, has_contpte());
	if (!has_contpte())
		mt_skip("no entries are folded without CONFIG_ARM64_CONTPTE");
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, FOLD_SIZE, folding.hva), 0);
	mt_access_ok(vcpu, MT_FILL, MT_GPA, pages);
	a = audit_read(vm);
	TEST_ASSERT_EQ(expect_folding(&a), pages);
	audit_free(&a);

	pthread_create(&thread, NULL, fold_and_unfold, NULL);
	end = seconds() + churn_seconds();
	for (reads = 0; seconds() < end || reads <= FOLD_MIN; reads++) {
		a = audit_read(vm);
		expect_nothing_else(&a);
		TEST_ASSERT_EQ(a.mismatched_pages, 0);
		/* What was told of is the last page of each block */
		TEST_ASSERT(expect_folding(&a) >= pages - FOLD_NR, "Pages are missing");
		audit_free(&a);
	}
	WRITE_ONCE(folding.stop, true);
	pthread_join(thread, NULL);
	ksft_print_msg("%lu reads, under %lu unfolds and %lu folds\n", reads, folding.unfolds,
		       folding.folds);
	TEST_ASSERT(folding.rounds > FOLD_MIN, "Too few");
	TEST_ASSERT_EQ(folding.unfolds, folding.rounds);
	TEST_ASSERT_EQ(folding.folds, folding.rounds);
	a = audit_read(vm);
	TEST_ASSERT_EQ(expect_folding(&a), pages - FOLD_NR);
	audit_free(&a);
	kvm_vm_free(vm);
	munmap(folding.hva, FOLD_SIZE);
}

/* The file outlives the VM's descriptor, and the VMM */
TEST_F(audit, after_the_vmm)
{
	int to_parent[2], to_child[2], status;
	struct kvm_vcpu *vcpu;
	char path[96] = "", c;
	struct kvm_vm *vm;
	struct audit a;
	pid_t pid;
	FILE *f;

	mt_require_pfnmap();
	TEST_ASSERT(!pipe(to_parent) && !pipe(to_child), "pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		vm = mt_vm_create(&vcpu, SIZE);
		MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, mt_anon(SIZE)), 0);
		mt_access_ok(vcpu, MT_FILL, MT_GPA, SIZE / MT_PAGE);
		audit_path(vm, path, sizeof(path));
		(void)!write(to_parent[1], path, sizeof(path));
		(void)!read(to_child[0], &c, 1);
		_exit(0);
	}
	close(to_parent[1]);
	TEST_ASSERT_EQ(read(to_parent[0], path, sizeof(path)), sizeof(path));

	/* Another process reads of the VMM's page tables, not its own */
	f = fopen(path, "r");
	TEST_ASSERT(f, "%s: %s", path, strerror(errno));
	a = audit_parse(f);
	TEST_ASSERT(a.pages >= SIZE / MT_PAGE, "%lu pages", a.pages);
	expect_nothing_else(&a);
	audit_free(&a);

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	rewind(f);
	a = audit_parse(f);
	TEST_ASSERT_EQ(a.pages, 0);
	audit_free(&a);
	fclose(f);
	TEST_ASSERT(access(path, F_OK), "%s is still there", path);
}

/* ---- the tracepoint ---- */

#define TRACE		MT_TRACE("s2_audit")
#define EVENT		TRACE "/events/kvm/kvm_s2_memtype/enable"

#define NO_ALIAS	"map_memory 0 zone_device 0"
#define ZONE_DEVICE	"map_memory 0 zone_device 1"

/* One access under trace; the line for the slot, without what came before */
static void trace_access(struct kvm_vcpu *vcpu, char *found, size_t size)
{
	char text[512], *p;
	FILE *f;

	write_file(TRACE "/trace", "");
	write_file(EVENT, "1");
	mt_access(vcpu, MT_STR, MT_GPA, 1);
	write_file(EVENT, "0");

	*found = '\0';
	f = fopen(TRACE "/trace", "r");
	TEST_ASSERT(f, "%s: %s", TRACE, strerror(errno));
	while (fgets(text, sizeof(text), f)) {
		p = strstr(text, "kvm_s2_memtype: slot 10 ");
		if (p)
			snprintf(found, size, "%s", p + strlen("kvm_s2_memtype: "));
	}
	fclose(f);
	found[strcspn(found, "\n")] = '\0';
}

static void check_trace(const struct memtype_test_config *config, u32 slot_flags,
			const char *inputs, const char *result)
{
	char found[512], want[512];
	struct memtype_test_pte pte;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fd = -1, dic;
	void *hva;

	vm = mt_vm_create(&vcpu, SIZE);
	if (config) {
		hva = map_config(config, MT_PAGE, 0, &fd);
		pte = mt_host_pte(fd, hva);
	} else {
		hva = mt_anon(MT_PAGE);
	}
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, MT_PAGE, hva), 0);
	trace_access(vcpu, found, sizeof(found));
	if (config) {
		dic = mt_has_cacheable_pfnmap(vm);
		snprintf(want, sizeof(want),
			 "slot 10 gfn %#lx pfn %#llx %s cacheable_pfnmap %d protected_mode 0: %s",
			 MT_GPA / MT_PAGE, pte.phys / MT_PAGE, inputs, dic, result);
		TEST_ASSERT(!strcmp(found, want), "'%s', expected '%s'", found, want);
	} else {
		snprintf(want, sizeof(want), "slot 10 gfn %#lx ", MT_GPA / MT_PAGE);
		TEST_ASSERT(!strncmp(found, want, strlen(want)) && strstr(found, inputs) &&
			    strstr(found, result), "'%s', expected '%s ... %s'", found,
			    inputs, result);
	}
	kvm_vm_free(vm);
	munmap(hva, MT_PAGE);
	if (fd >= 0)
		close(fd);
}

TEST_F(audit, tracepoint)
{
	static const struct memtype_test_config zone_device = {
		.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_ALIAS,
	}, nc_in_wb = {
		.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_NC,
		.flags = MEMTYPE_TEST_GRANT,
	};

	mt_require_noncacheable();
	if (!mt_trace_begin(TRACE))
		mt_skip("%s: %s", TRACE, strerror(errno));
	TEST_ASSERT(!access(EVENT, F_OK), "No event kvm_s2_memtype");

	check_trace(NULL, 0, "noncacheable 0 pfnmap 0 vma NORMAL-WB pte - ", ": NORMAL-WB");
	check_trace(&nc_granted, 0,
		    "noncacheable 0 pfnmap 1 vma NORMAL-NC pte NORMAL-NC any_uncached 1 " NO_ALIAS,
		    "NORMAL-NC");
	check_trace(&nc_in_wb, 0,
		    "noncacheable 0 pfnmap 1 vma NORMAL-WB pte NORMAL-NC any_uncached 1 " NO_ALIAS,
		    "NORMAL-NC");
	check_trace(&device, 0,
		    "noncacheable 0 pfnmap 1 vma DEVICE pte DEVICE any_uncached 0 " NO_ALIAS,
		    "DEVICE");
	check_trace(&device, KVM_MEM_NONCACHEABLE,
		    "noncacheable 1 pfnmap 1 vma DEVICE pte DEVICE any_uncached 0 " NO_ALIAS,
		    "REFUSED");
	check_trace(&zone_device, KVM_MEM_NONCACHEABLE,
		    "noncacheable 1 pfnmap 1 vma NORMAL-NC pte NORMAL-NC any_uncached 0 "
		    ZONE_DEVICE,
		    "REFUSED");
	mt_trace_end(TRACE);
}

MT_NEEDS(MT_AUDIT)

TEST_HARNESS_MAIN
