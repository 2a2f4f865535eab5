// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_removal - A device goes away under a VM that uses it
 *
 * A virtual function that its physical function gives up, a device behind a root port
 * that is removed, one that is unplugged. A BAR of it is mapped with each memory type at
 * once, and through each mapping a vCPU writes as fast as it can. The host asks for the
 * device and waits; each vCPU stops, with -EFAULT and the exit for a memory fault, when
 * the VMM gives its mapping back and not before, whatever the type; and with the last
 * mapping, or with the VMM, the device goes.
 */
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/kvm_memtype.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "bar_memtype.h"
#include "bars.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"
#include "vfio_dev.h"
#include "writers.h"

/* The first page of the BAR for each of them, and their words there: igbvf's mailbox */
#define STRIDE		SZ_64K
#define WORDS		0x800

#define TIMEOUT_MS	20000

FIXTURE(removal)
{
	struct mt_dev dev;
	struct kvm_vm *vm;
	struct writer writers[NR_TYPES];	/* by the type that they write through */
	void *hva[NR_TYPES];
	int request;				/* eventfd: the host wants it back */
};

FIXTURE_VARIANT(removal)
{
	const char *bdf;
	int bar;
	enum mt_iommu iommu;
	const char *pf;			/* of a virtual function */
	const char *path;		/* what is written where, and it goes */
	const char *value;
	const char *again;		/* 1 written here brings it back */
};

#define SYSFS	"/sys/bus/pci/devices/"

FIXTURE_VARIANT_ADD(removal, vf_type1) {
	.bdf = IGB_VF, .bar = 0, .iommu = MT_TYPE1, .pf = IGB,
	.path = SYSFS IGB "/sriov_numvfs", .value = "0",
};

FIXTURE_VARIANT_ADD(removal, vf_cdev) {
	.bdf = IGB_VF, .bar = 0, .iommu = MT_CDEV, .pf = IGB,
	.path = SYSFS IGB "/sriov_numvfs", .value = "0",
};

/* A prefetchable BAR that is not in a prefetchable window */
FIXTURE_VARIANT_ADD(removal, behind_port_type1) {
	.bdf = BEHIND_PORT, .bar = 0, .iommu = MT_TYPE1,
	.path = SYSFS BEHIND_PORT "/remove", .value = "1", .again = SYSFS PORT "/rescan",
};

FIXTURE_VARIANT_ADD(removal, behind_port_cdev) {
	.bdf = BEHIND_PORT, .bar = 0, .iommu = MT_CDEV,
	.path = SYSFS BEHIND_PORT "/remove", .value = "1", .again = SYSFS PORT "/rescan",
};

static void write_file(const char *path, const char *value)
{
	FILE *f = fopen(path, "w");

	TEST_ASSERT(f && fputs(value, f) >= 0 && !fclose(f), "%s: %s", path, strerror(errno));
}

static bool present(const char *bdf)
{
	char path[64];

	snprintf(path, sizeof(path), SYSFS "%s", bdf);
	return !access(path, F_OK);
}

static void expect_types(FIXTURE_DATA(removal) *self)
{
	u32 type;

	for (type = 0; type < NR_TYPES; type++)
		mt_expect_type(self->vm, self->writers[type].gpa,
			       type == STRICT ? S2_DEVICE : S2_NC, NULL);
}

/* Somebody who is asked for the device */
static void register_request(FIXTURE_DATA(removal) *self)
{
	struct {
		struct vfio_irq_set set;
		s32 fd;
	} irq = {
		.set = {
			.argsz = sizeof(irq),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_REQ_IRQ_INDEX,
			.count = 1,
		},
	};

	self->request = eventfd(0, EFD_CLOEXEC);
	irq.fd = self->request;
	TEST_ASSERT(!ioctl(self->dev.fd, VFIO_DEVICE_SET_IRQS, &irq),
		    "VFIO_DEVICE_SET_IRQS: %s", strerror(errno));
}

/* False if there is no such device */
static bool start(FIXTURE_DATA(removal) *self, const FIXTURE_VARIANT(removal) *variant)
{
	struct kvm_vcpu *vcpus[NR_TYPES];
	u64 gpa;
	u32 type;

	if (variant->pf && !mt_vf_create(variant->pf))
		return false;
	mt_dev_open(&self->dev, variant->bdf, variant->iommu);
	require_memtype(&self->dev);
	register_request(self);

	self->vm = __vm_create_with_vcpus(mt_shape(), NR_TYPES,
					  NR_TYPES * STRIDE / MT_PAGE, writer_guest, vcpus);
	virt_map(self->vm, MT_GPA, MT_GPA, NR_TYPES * STRIDE / MT_PAGE);
	writers_host();
	for (type = 0; type < NR_TYPES; type++) {
		self->hva[type] = mt_dev_map_as(&self->dev, variant->bar, type, 0, MT_PAGE);
		gpa = MT_GPA + type * STRIDE;
		MT_EXPECT_ERRNO(bar_add_memslot(self->vm->fd, MT_SLOT + type, gpa, MT_PAGE,
						self->hva[type], type), 0);
		writer_start(&self->writers[type], vcpus[type], gpa + WORDS + 8 * type,
			     WORDS + 8 * type);
	}
	return true;
}

/* What lands is looked at through the next type's mapping */
static void unmap(FIXTURE_DATA(removal) *self, u32 type)
{
	munmap(self->hva[type], MT_PAGE);
	writers_expect_stop(&self->writers[type], 1, EFAULT, KVM_EXIT_MEMORY_FAULT,
			    type + 1 < NR_TYPES ? self->hva[type + 1] : NULL);
}

/* No vCPU is in the guest here */
static void end(FIXTURE_DATA(removal) *self)
{
	writers_end(self->writers, NR_TYPES);
	kvm_vm_free(self->vm);
	close(self->request);
}

FIXTURE_SETUP(removal)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	mt_rig_only("it takes devices away");
}

FIXTURE_TEARDOWN(removal)
{
}

/*
 * Through all of them. A virtual function's hardware has no bit that enables memory, and
 * what a VMM writes there takes the mappings away and lets them come back at once. In a
 * prefetchable window or not, the types are there.
 */
TEST_F_TIMEOUT(removal, memory_disabled, 60)
{
	u16 command;
	int round;
	u32 type;

	if (!start(self, variant))
		return;
	command = mt_dev_command(&self->dev) | PCI_COMMAND_MEMORY;
	mt_dev_set_command(&self->dev, command);
	writers_go(self->writers, NR_TYPES);
	for (round = 0; round < 3; round++) {
		writers_warm_up(self->writers, NR_TYPES);
		expect_types(self);
		mt_dev_set_command(&self->dev, command & ~PCI_COMMAND_MEMORY);
		if (variant->pf) {
			writers_warm_up(self->writers, NR_TYPES);
			expect_types(self);
			mt_dev_set_command(&self->dev, command);
			continue;
		}
		writers_expect_stop(self->writers, NR_TYPES, EFAULT, KVM_EXIT_MEMORY_FAULT,
				    NULL);
		mt_dev_set_command(&self->dev, command);
		writers_go(self->writers, NR_TYPES);
	}
	for (type = 0; type < NR_TYPES; type++)
		unmap(self, type);
	end(self);
	mt_dev_close(&self->dev);
}

struct remover {
	const char *path;
	const char *value;
	int err;
	bool done;
};

static void *remove_thread(void *arg)
{
	struct remover *remover = arg;
	int fd = open(remover->path, O_WRONLY);

	if (fd < 0 || write(fd, remover->value, strlen(remover->value)) < 0)
		remover->err = errno;
	if (fd >= 0)
		close(fd);
	__atomic_store_n(&remover->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool removed(struct remover *remover)
{
	return __atomic_load_n(&remover->done, __ATOMIC_ACQUIRE);
}

/* It takes a second in the kernel after a virtual function or a slot's device has gone */
static void expect_removed(struct remover *remover, pthread_t thread, const char *bdf)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	s64 start = now_ns();

	while (!removed(remover)) {
		TEST_ASSERT(now_ns() - start < TIMEOUT_MS * 1000000LL,
			    "%s: nobody uses it, and it does not go", bdf);
		nanosleep(&pause, NULL);
	}
	pthread_join(thread, NULL);
	MT_EXPECT_ERRNO(remover->err, 0);
	TEST_ASSERT(!present(bdf), "%s is still there", bdf);
}

static void expect_request(int request)
{
	struct pollfd poll_request = { .fd = request, .events = POLLIN };

	TEST_ASSERT(poll(&poll_request, 1, TIMEOUT_MS) == 1, "The VMM is not asked");
}

static void give_back(FIXTURE_DATA(removal) *self, const FIXTURE_VARIANT(removal) *variant)
{
	struct remover remover = { variant->path, variant->value };
	pthread_t thread;
	u32 type;

	if (!start(self, variant))
		return;
	writers_go(self->writers, NR_TYPES);
	writers_warm_up(self->writers, NR_TYPES);
	expect_types(self);

	TEST_ASSERT(!pthread_create(&thread, NULL, remove_thread, &remover), "pthread_create");
	expect_request(self->request);
	/* A mapping is a user of the device, which works as long as it has one */
	mt_dev_close(&self->dev);
	for (type = 0; type < NR_TYPES; type++) {
		writers_warm_up(&self->writers[type], NR_TYPES - type);
		TEST_ASSERT(!removed(&remover), "%s went away under %u mappings", variant->bdf,
			    NR_TYPES - type);
		unmap(self, type);
	}
	expect_removed(&remover, thread, variant->bdf);

	/* Nor are there other translations */
	writers_go(self->writers, NR_TYPES);
	writers_expect_stop(self->writers, NR_TYPES, EFAULT, KVM_EXIT_MEMORY_FAULT, NULL);
	end(self);
}

TEST_F_TIMEOUT(removal, given_back, 60)
{
	give_back(self, variant);
	if (variant->again)
		write_file(variant->again, "1");
}

/* A VMM that is asked and dies */
TEST_F_TIMEOUT(removal, killed, 60)
{
	struct remover remover = { variant->path, variant->value };
	int status, pipefd[2];
	pthread_t thread;
	pid_t pid;
	char c;

	if (variant->pf && !mt_vf_create(variant->pf))
		return;
	TEST_ASSERT(!pipe(pipefd), "pipe: %s", strerror(errno));
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		start(self, variant);
		writers_go(self->writers, NR_TYPES);
		writers_warm_up(self->writers, NR_TYPES);
		TEST_ASSERT_EQ(write(pipefd[1], "r", 1), 1);
		expect_request(self->request);
		writers_warm_up(self->writers, NR_TYPES);
		TEST_ASSERT_EQ(write(pipefd[1], "a", 1), 1);
		pause();
	}
	close(pipefd[1]);
	TEST_ASSERT_EQ(read(pipefd[0], &c, 1), 1);
	TEST_ASSERT(!pthread_create(&thread, NULL, remove_thread, &remover), "pthread_create");
	TEST_ASSERT_EQ(read(pipefd[0], &c, 1), 1);
	TEST_ASSERT(!removed(&remover), "%s went away under a VMM", variant->bdf);
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "VMM: %#x", status);
	expect_removed(&remover, thread, variant->bdf);
	close(pipefd[0]);
	if (variant->again)
		write_file(variant->again, "1");
}

/* There is no way back from this: QEMU deletes the device when the slot's power is off */
FIXTURE(slot)
{
	FIXTURE_DATA(removal) removal;
};

FIXTURE_SETUP(slot)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	mt_rig_only("it takes devices away");
}

FIXTURE_TEARDOWN(slot)
{
}

TEST_F_TIMEOUT(slot, unplugged, 60)
{
	static const FIXTURE_VARIANT(removal) unplug = {
		.bdf = IN_SLOT, .bar = 2, .iommu = MT_CDEV,
		.path = "/sys/bus/pci/slots/" PORT_SLOT "/power", .value = "0",
	};

	give_back(&self->removal, &unplug);
}

/* What the port's registers say: the window ends before it begins */
TEST(prefetchable_window_is_closed)
{
	u16 range[2];
	FILE *f;

	if (!mt_in_rig())
		SKIP(return, "only in the rig: a port of QEMU's");
	f = fopen(SYSFS PORT "/config", "r");
	TEST_ASSERT(f && !fseek(f, PCI_PREF_MEMORY_BASE, SEEK_SET) &&
		    fread(range, sizeof(range), 1, f) == 1, "%s: %s", PORT, strerror(errno));
	fclose(f);
	TEST_ASSERT((range[0] & PCI_PREF_RANGE_MASK) > (range[1] & PCI_PREF_RANGE_MASK),
		    "The prefetchable window is %#x-%#x", range[0], range[1]);
}

MT_NEEDS(MT_VFIO)

TEST_HARNESS_MAIN
