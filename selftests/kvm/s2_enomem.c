// SPDX-License-Identifier: GPL-2.0
/*
 * s2_enomem - Each allocation of a call fails once
 *
 * Of calls that know the flag, of faults in a flagged slot, of the audit, and of the
 * mapping of a BAR with a memory type: the call works all the same, or fails with ENOMEM
 * (a fault in the host's page tables with EFAULT, and not for the memory type); nothing is
 * half done, and the same call works right afterwards.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "bars.h"
#include "fail_nth.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"

#define SIZE	SZ_2M

static const struct memtype_test_config config = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
};

static struct {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	void *hva;
	void *alias;	/* of another type */
	int fd;
	u32 flags;
	struct mt_dev dev;
	u64 offset;
} t;

static void memory(void)
{
	mt_require_noncacheable();
	t.fd = mt_test_open(&config);
	t.hva = mt_mmap(t.fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
}

static void vm(void)
{
	t.vm = mt_vm_create(&t.vcpu, 2 * SIZE);
	t.flags = KVM_MEM_NONCACHEABLE;
}

/* By itself: libkvm looks for capabilities first */
static int set_slot(void)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = MT_SLOT, .flags = t.flags, .guest_phys_addr = MT_GPA,
		.memory_size = SIZE, .userspace_addr = (u64)t.hva,
	};

	return ioctl(t.vm->fd, KVM_SET_USER_MEMORY_REGION2, &region) ? errno : 0;
}

static void vm_with_slot(void)
{
	vm();
	MT_EXPECT_ERRNO(set_slot(), 0);
}

/* The slot is there once, and whole */
static void use_slot(void)
{
	char dir[64];

	MT_EXPECT_ERRNO(mt_set_slot_nr(t.vm, MT_SLOT + 2, 0, MT_GPA, MT_PAGE, t.hva), EEXIST);
	mt_access_ok(t.vcpu, MT_STR, MT_GPA, 1);
	mt_access_ok(t.vcpu, MT_STR, MT_GPA + SIZE - MT_PAGE, 1);
	mt_expect_nc(t.vm, MT_GPA, SIZE, "all the time");

	/* Nobody else has the VM */
	snprintf(dir, sizeof(dir), "/sys/kernel/debug/kvm/%d-%d", getpid(), t.vm->fd);
	TEST_ASSERT(!access(dir, F_OK), "%s: %s", dir, strerror(errno));
	kvm_vm_free(t.vm);
	TEST_ASSERT(access(dir, F_OK), "%s is still there", dir);
}

MT_TEST(create)
{
	memory();
	fail_each(&(struct failing) {
		.name = "KVM_SET_USER_MEMORY_REGION2", .before = vm, .call = set_slot,
		.after = use_slot,
	});
}

static void before_logging(void)
{
	vm_with_slot();
	mt_access_ok(t.vcpu, MT_STR, MT_GPA, 1);
	t.flags |= KVM_MEM_LOG_DIRTY_PAGES;
}

/* What was written before is not dirty, what is written now is */
static void use_log(void)
{
	/* Enough for the smallest pages */
	unsigned long bitmap[SIZE / SZ_4K / BITS_PER_LONG] = {};

	mt_access_ok(t.vcpu, MT_STR, MT_GPA + MT_PAGE, 1);
	kvm_vm_get_dirty_log(t.vm, MT_SLOT, bitmap);
	TEST_ASSERT_EQ(bitmap[0], 2);
	use_slot();
}

MT_TEST(logging)
{
	memory();
	fail_each(&(struct failing) {
		.name = "KVM_MEM_LOG_DIRTY_PAGES", .before = before_logging, .call = set_slot,
		.after = use_log,
	});
}

/* A page that cannot be had for want of memory is not one of a wrong type */
static int result(int ret)
{
	int err = ret ? errno : 0;

	if (err == EFAULT) {
		TEST_ASSERT_EQ(t.vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);
		TEST_ASSERT_EQ(t.vcpu->run->memory_fault.flags, 0);
	}
	return err;
}

static int populate(void)
{
	struct kvm_pre_fault_memory range = { .gpa = MT_GPA, .size = SIZE };
	int ret;

	/* Success is one page at least */
	do {
		ret = result(__vcpu_ioctl(t.vcpu, KVM_PRE_FAULT_MEMORY, &range));
	} while (!ret && range.size);
	return ret;
}

MT_TEST(pre_fault)
{
	memory();
	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		mt_skip("no KVM_PRE_FAULT_MEMORY");
	fail_each(&(struct failing) {
		.name = "KVM_PRE_FAULT_MEMORY", .before = vm_with_slot, .call = populate,
		.after = use_slot, .other = EFAULT,
	});
}

/* Once more, the guest's access goes on */
static int run_vcpu(void)
{
	return result(__vcpu_run(t.vcpu));
}

/*
 * A vCPU that has nothing yet, of its own code neither; but the interrupt controller, which
 * it makes when it is first run, and not again if that fails
 */
static void before_run(void)
{
	vm_with_slot();
	t.vcpu->run->immediate_exit = 1;
	MT_EXPECT_ERRNO(run_vcpu(), EINTR);
	t.vcpu->run->immediate_exit = 0;
	mt_access_prepare(t.vcpu, MT_STR, MT_GPA, 1);
}

/* It has come to its GUEST_SYNC() */
static void after_run(void)
{
	mt_expect_sync(t.vcpu);
	use_slot();
}

MT_TEST(run)
{
	memory();
	fail_each(&(struct failing) {
		.name = "KVM_RUN", .before = before_run, .call = run_vcpu, .after = after_run,
		.other = EFAULT,
	});
}

/* ---- the audit ---- */

static char audit_path[96];
static int audit_fd;
static char text[SZ_64K], reference[SZ_64K];

static int open_audit(void)
{
	audit_fd = open(audit_path, O_RDONLY);
	return audit_fd < 0 ? errno : 0;
}

/* All of it, from the beginning; it is what it was, or there is an error */
static int read_audit(void)
{
	size_t end = 0;
	ssize_t len;

	lseek(audit_fd, 0, SEEK_SET);
	do {
		len = read(audit_fd, text + end, sizeof(text) - 1 - end);
		if (len < 0)
			return errno;
		end += len;
	} while (len);
	text[end] = '\0';
	TEST_ASSERT(!*reference || !strcmp(text, reference), "'%s', expected '%s'", text,
		    reference);
	return 0;
}

/* A page has two types: it has to remember each of them to say so */
static void before_audit(void)
{
	static const struct memtype_test_config device = {
		.vma_type = MEMTYPE_TEST_DEVICE, .pte_type = MEMTYPE_TEST_DEVICE,
	};

	if (!t.alias)
		t.alias = mt_mmap(mt_test_open(&device), SIZE, PROT_READ | PROT_WRITE,
				  MAP_SHARED, 0);
	vm_with_slot();
	MT_EXPECT_ERRNO(mt_set_slot_nr(t.vm, MT_SLOT + 1, 0, MT_GPA + SIZE, SIZE, t.alias), 0);
	mt_access_ok(t.vcpu, MT_STR, MT_GPA, 1);
	mt_access_ok(t.vcpu, MT_STR, MT_GPA + SIZE, 1);
	snprintf(audit_path, sizeof(audit_path), "/sys/kernel/debug/kvm/%d-%d/memtype_audit",
		 getpid(), t.vm->fd);
	if (access(audit_path, F_OK))
		mt_skip("no audit");
	MT_EXPECT_ERRNO(open_audit(), 0);
	*reference = '\0';
	MT_EXPECT_ERRNO(read_audit(), 0);
	TEST_ASSERT(strstr(text, "MISMATCH") && strstr(text, "\nsummary: "), "'%s'", text);
	memcpy(reference, text, sizeof(text));
	/* Without the buffer that it has by now */
	close(audit_fd);
	MT_EXPECT_ERRNO(open_audit(), 0);
}

static void use_audit(void)
{
	MT_EXPECT_ERRNO(read_audit(), 0);
	close(audit_fd);
	use_slot();
}

static void before_audit_open(void)
{
	before_audit();
	close(audit_fd);
}

MT_TEST(audit_open)
{
	memory();
	fail_each(&(struct failing) {
		.name = "open() of the audit", .before = before_audit_open,
		.call = open_audit, .after = use_audit,
	});
}

MT_TEST(audit_read)
{
	memory();
	fail_each(&(struct failing) {
		.name = "read() of the audit", .before = before_audit, .call = read_audit,
		.after = use_audit,
	});
}

/* ---- BARs ---- */

static void nowhere(void)
{
	t.hva = NULL;
}

static int mmap_bar(void)
{
	void *hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, t.dev.fd, t.offset);

	if (hva == MAP_FAILED)
		return errno;
	t.hva = hva;
	return 0;
}

static void use_bar(void)
{
	TEST_ASSERT_EQ(host_pte(t.hva).type, host_types[WRITE_COMBINE]);
	munmap(t.hva, SIZE);
}

MT_TEST(map_bar)
{
	mt_require_noncacheable();
	bar_open(&t.dev, memory_bar(SIZE), MT_CDEV);
	require_memtype(&t.dev);
	t.offset = mt_dev_offset(&t.dev, memory_bar(SIZE)->index, WRITE_COMBINE);
	fail_each(&(struct failing) {
		.name = "mmap() of a BAR", .before = nowhere, .call = mmap_bar, .after = use_bar,
	});
	mt_dev_close(&t.dev);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN
