// SPDX-License-Identifier: GPL-2.0
/*
 * s2_prefault - KVM_PRE_FAULT_MEMORY does what the guest's faults would do
 *
 * A VMM that populates a slot before the guest runs must get the leaves that the
 * guest's own writes would get, in type and in size, must be told of what is refused,
 * where and why, with the errors of KVM_RUN, and must be able to go on from there. A
 * guest then runs without a single exit for that memory.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "nc_memslot.h"
#include "pages.h"
#include "s2_dump.h"
#include "ucall_common.h"

/* Of pages, four blocks of 4K pages; and of blocks, two at least */
#define SIZE		(2048 * MT_PAGE)
#define BLOCKS		max(SIZE, 2 * MT_BLOCK)
#define CHUNK		(16 * MT_PAGE)

static const struct memtype_test_config nc_pages = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
}, nc_blocks = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
	.flags = MEMTYPE_TEST_PMD,
}, nc_in_wb = {
	.vma_type = MEMTYPE_TEST_WB, .pte_type = MEMTYPE_TEST_NC,
}, device = {
	.vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE,
};

FIXTURE(prefault) {
};

FIXTURE_SETUP(prefault)
{
	MT_SKIP_TO_HARNESS();
	if (mt_host_is_pkvm())
		mt_skip("no KVM_PRE_FAULT_MEMORY in protected mode");
	TEST_ASSERT(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY),
		    "KVM_CAP_PRE_FAULT_MEMORY is not supported");
}

FIXTURE_TEARDOWN(prefault)
{
}

/* One call; returns its errno and leaves in *range what it has left to do */
static int prefault_once(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range)
{
	return __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, range) ? errno : 0;
}

/*
 * As a VMM does it: again until nothing is left. A call that has got somewhere
 * succeeds, and says by the range where to go on.
 */
static int prefault(struct kvm_vcpu *vcpu, u64 gpa, u64 size, struct kvm_pre_fault_memory *left)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };
	int ret, calls = 0;

	do {
		u64 before = range.size;

		ret = prefault_once(vcpu, &range);
		TEST_ASSERT(range.gpa + range.size == gpa + size, "%#lx bytes left at %#lx",
			    (unsigned long)range.size, (unsigned long)range.gpa);
		TEST_ASSERT(ret || range.size < before, "Success, but no progress");
		TEST_ASSERT(++calls < 100000, "It does not end");
	} while (range.size && (!ret || ret == EINTR || ret == EAGAIN));

	if (left)
		*left = range;
	return ret;
}

static u64 exits(struct kvm_vcpu *vcpu)
{
	return vcpu_get_stat(vcpu, exits);
}

/* ---- what it installs ---- */

static u64 size_of(u64 leaf_size)
{
	return leaf_size == MT_BLOCK ? BLOCKS : SIZE;
}

static void check_populated(void *hva, u32 slot_flags, const char *type, u64 leaf_size,
			    bool writable)
{
	const u64 size = size_of(leaf_size);
	struct s2_range *ranges;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u64 leaves, before;
	size_t i, nr;

	vm = mt_vm_create(&vcpu, size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, size, hva), 0);
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, size, NULL), 0);

	/* No vCPU has run yet */
	nr = s2_dump(vm, MT_GPA, size, &ranges);
	TEST_ASSERT(nr, "Nothing is mapped");
	for (i = 0; i < nr; i++) {
		TEST_ASSERT(s2_type_is(&ranges[i], type), "%#lx-%#lx is '%s', expected '%s'",
			    (unsigned long)ranges[i].start, (unsigned long)ranges[i].end,
			    ranges[i].type, type);
		TEST_ASSERT(ranges[i].readable, "%#lx is not readable",
			    (unsigned long)ranges[i].start);
		TEST_ASSERT(ranges[i].writable == writable, "%#lx: writable is %d",
			    (unsigned long)ranges[i].start, ranges[i].writable);
		if (strcmp(type, S2_WB))
			TEST_ASSERT(ranges[i].xn, "%#lx is executable",
				    (unsigned long)ranges[i].start);
	}
	free(ranges);
	leaves = s2_count(vm, MT_GPA, size, 0);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, size, leaf_size), size / leaf_size);
	TEST_ASSERT_EQ(leaves, size / leaf_size);

	/* Again, it changes nothing */
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, size, NULL), 0);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, size, 0), leaves);

	if (writable) {
		/* The guest's code and page tables are mapped as it runs, the slot is */
		before = exits(vcpu);
		mt_access_ok(vcpu, MT_FILL, MT_GPA, size / MT_PAGE);
		TEST_ASSERT(exits(vcpu) - before < size / MT_PAGE / 4,
			    "%lu exits for a slot that is populated",
			    (unsigned long)(exits(vcpu) - before));
		TEST_ASSERT_EQ(s2_count(vm, MT_GPA, size, 0), leaves);
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + 5 * MT_PAGE)), 5);
	}
	kvm_vm_free(vm);
}

static void check_driver(const struct memtype_test_config *config, u32 slot_flags,
			 const char *type, u64 leaf_size)
{
	const u64 size = size_of(leaf_size);
	void *hva;
	int fd;

	if (slot_flags & KVM_MEM_NONCACHEABLE)
		mt_require_noncacheable();
	fd = mt_test_open(config);
	hva = mt_mmap(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	check_populated(hva, slot_flags, type, leaf_size,
			!(slot_flags & (KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)));
	munmap(hva, size);
	close(fd);
}

/* Memory that nobody has written to is mapped as a read would map it */
TEST_F(prefault, untouched)
{
	struct s2_range range;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva;

	hva = mt_anon(SIZE);
	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, SIZE, NULL), 0);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, MT_PAGE), SIZE / MT_PAGE);
	TEST_ASSERT(s2_find(vm, MT_GPA, &range) && !range.writable, "Copies have been made");
	mt_access_ok(vcpu, MT_FILL, MT_GPA, SIZE / MT_PAGE);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + 5 * MT_PAGE)), 5);
	kvm_vm_free(vm);
	munmap(hva, SIZE);
}

TEST_F(prefault, anonymous)
{
	void *hva = mt_anon(SIZE);

	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	memset(hva, 1, SIZE);
	check_populated(hva, 0, S2_WB, MT_PAGE, true);
}

TEST_F(prefault, anonymous_thp)
{
	void *hva = mt_anon(BLOCKS);

	madvise(hva, BLOCKS, MADV_HUGEPAGE);
	memset(hva, 1, BLOCKS);
	check_populated(hva, 0, S2_WB, MT_BLOCK, true);
}

TEST_F(prefault, hugetlb)
{
	void *hva = mt_hugetlb(BLOCKS);

	if (!hva)
		mt_skip("no huge pages");
	memset(hva, 1, BLOCKS);
	check_populated(hva, 0, S2_WB, MT_BLOCK, true);
}

TEST_F(prefault, pages)
{
	check_driver(&nc_pages, 0, S2_NC, MT_PAGE);
}

TEST_F(prefault, blocks)
{
	check_driver(&nc_blocks, 0, S2_NC, MT_BLOCK);
}

TEST_F(prefault, device_pages)
{
	check_driver(&device, 0, S2_DEVICE, MT_PAGE);
}

TEST_F(prefault, flag_pages)
{
	check_driver(&nc_pages, KVM_MEM_NONCACHEABLE, S2_NC, MT_PAGE);
}

TEST_F(prefault, flag_in_wb)
{
	check_driver(&nc_in_wb, KVM_MEM_NONCACHEABLE, S2_NC, MT_PAGE);
}

TEST_F(prefault, flag_blocks)
{
	check_driver(&nc_blocks, KVM_MEM_NONCACHEABLE, S2_NC, MT_BLOCK);
}

/* The function that Documentation/vmm.rst shows; who is refused can go on */
TEST_F(prefault, flag_as_a_vmm)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *nc, *dev, *ram;
	int nc_fd, dev_fd;

	mt_require_noncacheable();
	nc_fd = mt_test_open(&nc_blocks);
	nc = mt_mmap(nc_fd, BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	vm = mt_vm_create(&vcpu, BLOCKS);
	ram = mt_anon(BLOCKS);
	TEST_ASSERT_EQ(nc_memslot_add(vm->fd, vcpu->fd, MT_SLOT, MT_GPA, BLOCKS, ram), -EINVAL);

	dev_fd = mt_test_open(&device);
	dev = mt_mmap(dev_fd, BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	TEST_ASSERT_EQ(nc_memslot_add(vm->fd, vcpu->fd, MT_SLOT, MT_GPA, BLOCKS, dev), -EFAULT);
	TEST_ASSERT(nc_fault_is_memtype(vcpu->run), "Another reason");

	TEST_ASSERT_EQ(nc_memslot_add(vm->fd, vcpu->fd, MT_SLOT, MT_GPA, BLOCKS, nc), 0);
	mt_expect_nc(vm, MT_GPA, BLOCKS, "added");
	mt_access_ok(vcpu, MT_FILL, MT_GPA, BLOCKS / MT_PAGE);
	kvm_vm_free(vm);
	munmap(nc, BLOCKS);
	munmap(dev, BLOCKS);
	munmap(ram, BLOCKS);
	close(nc_fd);
	close(dev_fd);
}

TEST_F(prefault, flag_readonly)
{
	check_driver(&nc_pages, KVM_MEM_NONCACHEABLE | KVM_MEM_READONLY, S2_NC, MT_PAGE);
}

/* Where writes are logged, nothing counts as written, and nothing is writable */
static void check_logging(const struct memtype_test_config *config)
{
	const u64 size = config->flags & MEMTYPE_TEST_PMD ? BLOCKS : SIZE;
	unsigned long *bitmap = calloc(size / MT_PAGE / 8, 1);
	struct s2_range *ranges;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	size_t i, nr;
	void *hva;
	int fd;

	mt_require_noncacheable();
	fd = mt_test_open(config);
	hva = mt_mmap(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	vm = mt_vm_create(&vcpu, size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE | KVM_MEM_LOG_DIRTY_PAGES,
				    MT_GPA, size, hva), 0);
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, size, NULL), 0);
	mt_expect_nc(vm, MT_GPA, size, "populated");
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, size, MT_PAGE), size / MT_PAGE);
	nr = s2_dump(vm, MT_GPA, size, &ranges);
	for (i = 0; i < nr; i++)
		TEST_ASSERT(!ranges[i].writable, "%#lx is writable",
			    (unsigned long)ranges[i].start);
	free(ranges);
	kvm_vm_get_dirty_log(vm, MT_SLOT, bitmap);
	for (i = 0; i < size / MT_PAGE; i++)
		TEST_ASSERT(!test_bit(i, bitmap), "Page %lu is dirty", (unsigned long)i);
	mt_access_ok(vcpu, MT_STR, MT_GPA + CHUNK, 1);
	kvm_vm_get_dirty_log(vm, MT_SLOT, bitmap);
	for (i = 0; i < size / MT_PAGE; i++)
		TEST_ASSERT_EQ(test_bit(i, bitmap), i == CHUNK / MT_PAGE);
	free(bitmap);
	kvm_vm_free(vm);
	munmap(hva, size);
	close(fd);
}

TEST_F(prefault, flag_logging_4k)
{
	check_logging(&nc_pages);
}

TEST_F(prefault, flag_logging_2m)
{
	check_logging(&nc_blocks);
}

/* ---- what it refuses ---- */

/* The first half is in order, and is populated */
static void check_refused(void *second, int second_flags, int second_fd, u32 slot_flags,
			  int want_errno, u64 want_flags)
{
	struct kvm_pre_fault_memory left;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct mt_result r;
	void *hva;
	int fd;

	fd = mt_test_open(&nc_pages);
	hva = mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, slot_flags, MT_GPA, SIZE, hva), 0);
	TEST_ASSERT(mmap(hva + SIZE / 2, SIZE / 2, PROT_READ | PROT_WRITE,
			 second_flags | MAP_FIXED, second_fd, 0) == hva + SIZE / 2,
		    "mmap: %s", strerror(errno));

	vcpu->run->exit_reason = 0;
	memset(&vcpu->run->memory_fault, 0, sizeof(vcpu->run->memory_fault));
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, SIZE, &left), want_errno);
	TEST_ASSERT_EQ(left.gpa, MT_GPA + SIZE / 2);
	TEST_ASSERT_EQ(left.size, SIZE / 2);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, 0), SIZE / 2 / MT_PAGE);
	TEST_ASSERT_EQ(vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(vcpu->run->memory_fault.gpa, MT_GPA + SIZE / 2);
	TEST_ASSERT_EQ(vcpu->run->memory_fault.size, MT_PAGE);
	TEST_ASSERT_EQ(vcpu->run->memory_fault.flags, want_flags);

	/* A call that gets somewhere says so, and the next one has the error */
	left = (struct kvm_pre_fault_memory) {
		.gpa = MT_GPA + SIZE / 2 - CHUNK, .size = 2 * CHUNK,
	};
	MT_EXPECT_ERRNO(prefault_once(vcpu, &left), 0);
	TEST_ASSERT_EQ(left.gpa, MT_GPA + SIZE / 2);
	TEST_ASSERT_EQ(left.size, CHUNK);
	MT_EXPECT_ERRNO(prefault_once(vcpu, &left), want_errno);

	/* It is KVM_RUN's own answer */
	r = mt_access(vcpu, MT_LDR, MT_GPA + SIZE / 2, 0);
	MT_EXPECT_ERRNO(r.run_errno, want_errno);
	TEST_ASSERT_EQ(r.exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(r.fault.flags, want_flags);

	/* What has been mended is populated from there on */
	TEST_ASSERT(mmap(hva + SIZE / 2, SIZE / 2, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, SIZE / 2) == hva + SIZE / 2,
		    "mmap: %s", strerror(errno));
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA + SIZE / 2, SIZE / 2, NULL), 0);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, 0), SIZE / MT_PAGE);
	mt_expect_nc(vm, MT_GPA, SIZE, "mended");
	kvm_vm_free(vm);
	munmap(hva, SIZE);
	close(fd);
}

TEST_F(prefault, flag_refused)
{
	static const struct memtype_test_config wb = {};
	int fd;

	mt_require_noncacheable();
	check_refused(NULL, MAP_PRIVATE | MAP_ANONYMOUS, -1, KVM_MEM_NONCACHEABLE, EFAULT,
		      KVM_MEMORY_EXIT_FLAG_MEMTYPE);
	fd = mt_test_open(&device);
	check_refused(NULL, MAP_SHARED, fd, KVM_MEM_NONCACHEABLE, EFAULT,
		      KVM_MEMORY_EXIT_FLAG_MEMTYPE);
	close(fd);
	fd = mt_test_open(&wb);
	check_refused(NULL, MAP_SHARED, fd, KVM_MEM_NONCACHEABLE, EFAULT,
		      KVM_MEMORY_EXIT_FLAG_MEMTYPE);
	close(fd);
}

/* A page that is not there is no matter of types */
TEST_F(prefault, hole)
{
	struct kvm_pre_fault_memory left;
	void *hva = mt_anon(SIZE);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	madvise(hva, SIZE, MADV_NOHUGEPAGE);
	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	munmap(hva + CHUNK, MT_PAGE);
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, SIZE, &left), EFAULT);
	TEST_ASSERT_EQ(left.gpa, MT_GPA + CHUNK);
	TEST_ASSERT_EQ(vcpu->run->memory_fault.flags, 0);
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA + CHUNK + MT_PAGE, SIZE - CHUNK - MT_PAGE, NULL), 0);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, 0), SIZE / MT_PAGE - 1);
	kvm_vm_free(vm);
	munmap(hva, SIZE);
}

/* Nonsense; each has a neighbour that is none */
TEST_F(prefault, bad_ranges)
{
	const struct {
		u64 gpa, size, flags;
		int want;
	} bad[] = {
		{ MT_GPA,		MT_PAGE,	0,	0 },
		{ MT_GPA + 8,		MT_PAGE,	0,	EINVAL },
		{ MT_GPA,		MT_PAGE + 8,	0,	EINVAL },
		{ MT_GPA,		0,		0,	EINVAL },
		{ MT_GPA,		MT_PAGE,	1,	EINVAL },
		{ MT_GPA,		-(u64)MT_GPA,	0,	EINVAL },
		{ MT_GPA + SIZE,	MT_PAGE,	0,	ENOENT },
		{ MT_GPA + SIZE - MT_PAGE, MT_PAGE,	0,	0 },
	};
	struct kvm_pre_fault_memory range;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva = mt_anon(SIZE);
	int i;

	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ksft_print_msg("range %d\n", i);
		range = (struct kvm_pre_fault_memory) {
			.gpa = bad[i].gpa, .size = bad[i].size, .flags = bad[i].flags,
		};
		MT_EXPECT_ERRNO(prefault_once(vcpu, &range), bad[i].want);
	}
	kvm_vm_free(vm);
	munmap(hva, SIZE);
}

/* Of a vCPU that has not been initialized there is nothing to go by */
TEST_F(prefault, uninitialized)
{
	struct kvm_pre_fault_memory range = { .gpa = MT_GPA, .size = MT_PAGE };
	struct kvm_vm *vm;
	int fd;

	vm = vm_create_barebones();
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, mt_anon(SIZE)), 0);
	fd = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	TEST_ASSERT(fd >= 0, "KVM_CREATE_VCPU: %s", strerror(errno));
	TEST_ASSERT(ioctl(fd, KVM_PRE_FAULT_MEMORY, &range), "No error");
	MT_EXPECT_ERRNO(errno, ENOEXEC);
	TEST_ASSERT_EQ(range.size, MT_PAGE);
	close(fd);
	kvm_vm_free(vm);
}

static void guest_done(void)
{
	GUEST_DONE();
}

/* Before its VM has all of its interrupt controller, a vCPU is not loaded */
TEST_F(prefault, vgic_uninitialized)
{
	struct kvm_pre_fault_memory range = { .gpa = MT_GPA, .size = MT_PAGE };
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	void *hva = mt_anon(SIZE);

	vm = __vm_create(mt_shape(), 1, 0);
	vcpu = vm_vcpu_add(vm, 0, guest_done);
	if (!vm->arch.has_gic)
		mt_skip("this machine has no GICv3 for guests");
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	MT_EXPECT_ERRNO(prefault_once(vcpu, &range), EBUSY);
	TEST_ASSERT_EQ(range.size, MT_PAGE);

	kvm_arch_vm_finalize_vcpus(vm);
	MT_EXPECT_ERRNO(prefault_once(vcpu, &range), 0);
	TEST_ASSERT_EQ(range.size, 0);
	kvm_vm_free(vm);
	munmap(hva, SIZE);
}

/* The guest knows no size of pages */
#define MMIO_GPA	(MT_GPA + SZ_1G)

static void guest_reads_mmio(void)
{
	GUEST_SYNC(READ_ONCE(*(u64 *)MMIO_GPA));
}

/*
 * A VMM that is told of an access to a BAR may map it there and then, and answer the
 * exit afterwards. It answers in kvm_run, and KVM has to know what the access was.
 */
TEST_F(prefault, mmio_exit_pending)
{
	struct kvm_pre_fault_memory range = { .gpa = MT_GPA, .size = SIZE };
	void *hva = mt_anon(SIZE);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct ucall uc;
	u64 val = 0x1122334455667788;

	vm = vm_create_with_one_vcpu(&vcpu, guest_reads_mmio);
	virt_map(vm, MMIO_GPA, MMIO_GPA, 1);
	memset(hva, 1, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	vcpu_run(vcpu);
	TEST_ASSERT_EQ(vcpu->run->exit_reason, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(vcpu->run->mmio.phys_addr, MMIO_GPA);
	memcpy(vcpu->run->mmio.data, &val, sizeof(val));

	/* What can be mapped, and then a page that cannot */
	munmap(hva + SIZE - MT_PAGE, MT_PAGE);
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, SIZE, &range), EFAULT);
	TEST_ASSERT_EQ(range.gpa, MT_GPA + SIZE - MT_PAGE);
	TEST_ASSERT_EQ(vcpu->run->exit_reason, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(vcpu->run->mmio.phys_addr, MMIO_GPA);

	vcpu_run(vcpu);
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);
	TEST_ASSERT_EQ(uc.args[1], val);
	kvm_vm_free(vm);
}

/* Where the hypervisor maps memory, there is no such ioctl */
MT_TEST(protected_mode)
{
	struct kvm_pre_fault_memory range = { .gpa = MT_GPA, .size = MT_PAGE };
	void *hva = mt_anon(SIZE);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, hva), 0);
	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_PRE_FAULT_MEMORY), !mt_host_is_pkvm());
	MT_EXPECT_ERRNO(prefault_once(vcpu, &range), mt_host_is_pkvm() ? EOPNOTSUPP : 0);
	mt_access_ok(vcpu, MT_STR, MT_GPA, 1);
	kvm_vm_free(vm);
	munmap(hva, SIZE);
}

/* ---- who else is there ---- */

static void on_signal(int sig)
{
}

static struct {
	pthread_t target;
	void *hva;
	int fd;
	bool stop;
	u64 done;
} other;

static void *send_signals(void *unused)
{
	for (; !READ_ONCE(other.stop); other.done++) {
		pthread_kill(other.target, SIGUSR1);
		usleep(200);
	}
	return NULL;
}

/* Not where the other is; it has to look again for that, too */
static void *zap_pages(void *unused)
{
	for (; !READ_ONCE(other.stop); other.done++)
		mt_zap(other.fd, SIZE / 2 + other.done * 7 % 1000 * MT_PAGE, CHUNK);
	return NULL;
}

/* Interrupted, it can be called again with the range that it has left */
static void check_with(void *(*fn)(void *))
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	pthread_t thread;
	int i;

	sigaction(SIGUSR1, &sa, NULL);
	other.target = pthread_self();
	other.fd = mt_test_open(&nc_pages);
	other.hva = mt_mmap(other.fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	vm = mt_vm_create(&vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, SIZE, other.hva), 0);
	pthread_create(&thread, NULL, fn, NULL);
	for (i = 0; i < 20; i++) {
		mt_zap(other.fd, 0, SIZE);
		MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, SIZE / 2, NULL), 0);
		TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE / 2, MT_PAGE), SIZE / 2 / MT_PAGE);
	}
	WRITE_ONCE(other.stop, true);
	pthread_join(thread, NULL);
	TEST_ASSERT(other.done > 3, "Nobody was there");
	MT_EXPECT_ERRNO(prefault(vcpu, MT_GPA, SIZE, NULL), 0);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, SIZE, MT_PAGE), SIZE / MT_PAGE);
	mt_expect_nc(vm, MT_GPA, SIZE, "populated");
	kvm_vm_free(vm);
	munmap(other.hva, SIZE);
	close(other.fd);
}

TEST_F(prefault, signals)
{
	check_with(send_signals);
}

TEST_F(prefault, zaps)
{
	check_with(zap_pages);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN
