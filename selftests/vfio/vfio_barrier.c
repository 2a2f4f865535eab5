// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_barrier - Taking a BAR away from running vCPUs is a barrier
 *
 * Two vCPUs write a counter to words of a BAR as fast as they can, while the host
 * deletes the memslot, unmaps the VMM's mapping, clears the memory enable bit in
 * config space, puts the device to sleep, for a guest that writes to its config space
 * or by itself, or resets the function. Once the host's call has returned, no
 * write lands through the old mapping: every vCPU stops at its next store, with
 * an exit for MMIO where there is no memslot and -EFAULT where there is no
 * mapping, the word in the BAR is exactly what the vCPU has completed, and after
 * the host has put things back the VM goes on.
 *
 * MT_ROUNDS in the environment is the number of rounds of each test.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <linux/kvm_memtype.h>
#include <linux/pci_regs.h>

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

#define NR_WRITERS	2

/* Hours, where somebody wants many; a vCPU that does not stop is noticed in a round */
#define ROUNDS_TIMEOUT	(6 * 3600)

FIXTURE(barrier)
{
	struct mt_dev dev;
	struct kvm_vm *vm;
	struct kvm_vcpu *driver;	/* the vCPU that does not write */
	struct writer writers[NR_WRITERS];
	int bar;
	u64 half;		/* what a vCPU has of it */
	u64 size;		/* of all halves */
	u64 config_gpa;		/* where the one that does not write has config space */
	const u32 *types;
	enum mt_iommu iommu;
	u32 slot_flags;
	void *hva;		/* behind the memslot */
	void *other;		/* another mapping of the same */
	unsigned long rounds;
	s64 t0;
};

/* One vCPU's half of the slot and the other's */
FIXTURE_VARIANT(barrier)
{
	u32 types[NR_WRITERS];
	enum mt_iommu iommu;
};

FIXTURE_VARIANT_ADD(barrier, untouched) {
	.types = { DEFAULT, DEFAULT }, .iommu = MT_TYPE1
};

FIXTURE_VARIANT_ADD(barrier, strict) {
	.types = { STRICT, STRICT }, .iommu = MT_CDEV
};

FIXTURE_VARIANT_ADD(barrier, write_combine) {
	.types = { WRITE_COMBINE, WRITE_COMBINE }, .iommu = MT_CDEV
};

FIXTURE_VARIANT_ADD(barrier, mixed) {
	.types = { STRICT, WRITE_COMBINE }, .iommu = MT_TYPE1
};

static void set_slot(FIXTURE_DATA(barrier) *self, bool there)
{
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, there ? self->slot_flags : 0, MT_GPA,
				    there ? self->size : 0, self->hva), 0);
}

/* A vCPU writes to one half of the BAR's part, which may have a type of its own */
static void map_halves(FIXTURE_DATA(barrier) *self)
{
	struct vfio_region_info info;
	u64 offset;
	void *hva;
	int i;

	mt_dev_region(&self->dev, self->bar, &info);
	for (i = 0; i < NR_WRITERS; i++) {
		/* An older kernel has the default's, too */
		offset = self->types[i] == DEFAULT ? info.offset :
			 mt_dev_offset(&self->dev, self->bar, self->types[i]);
		hva = mmap(self->hva + i * self->half, self->half, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, self->dev.fd, offset + i * self->half);
		TEST_ASSERT(hva == self->hva + i * self->half, "mmap: %s", strerror(errno));
	}
}

/* A driver that puts its device to sleep and wakes it up again */
static void guest_driver(u64 pmcsr)
{
	for (;;) {
		WRITE_ONCE(*(u16 *)pmcsr, 3);
		WRITE_ONCE(*(u16 *)pmcsr, 0);
	}
}

static void start(FIXTURE_DATA(barrier) *self, const char *bdf, int bar, const u32 *types,
		  enum mt_iommu iommu)
{
	struct kvm_vcpu *vcpus[NR_WRITERS + 1];
	struct vfio_region_info info;
	u64 offset;
	int i;

	self->bar = bar;
	self->types = types;
	self->iommu = iommu;
	mt_dev_open(&self->dev, bdf, iommu);
	/* A block of large pages may be more than the BAR has */
	mt_dev_region(&self->dev, bar, &info);
	self->half = min_t(u64, MT_BLOCK, info.size / NR_WRITERS);
	self->size = NR_WRITERS * self->half;
	self->config_gpa = MT_GPA + self->size;
	if (types[0] != DEFAULT)
		require_memtype(&self->dev);
	/* What a VMM does with a write-combine mapping */
	if (types[0] == WRITE_COMBINE && kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		self->slot_flags = KVM_MEM_NONCACHEABLE;
	self->t0 = now_ns();
	/* For the alignment of the address */
	self->hva = mt_dev_map(&self->dev, bar, 0, self->size);
	map_halves(self);
	self->other = mt_dev_map(&self->dev, bar, 0, self->size);

	self->vm = __vm_create_with_vcpus(mt_shape(), ARRAY_SIZE(vcpus), self->size / MT_PAGE,
					  writer_guest, vcpus);
	virt_map(self->vm, MT_GPA, MT_GPA, self->size / MT_PAGE);
	set_slot(self, true);
	self->driver = vcpus[NR_WRITERS];
	vcpu_arch_set_entry_point(self->driver, guest_driver);
	virt_map(self->vm, self->config_gpa, self->config_gpa, 1);
	writers_host();
	for (i = 0; i < NR_WRITERS; i++) {
		/* One in either block */
		offset = i * self->half + 2 * MT_PAGE + 64 * i;
		WRITE_ONCE(*(u64 *)(self->hva + offset), 0);
		writer_start(&self->writers[i], vcpus[i], MT_GPA + offset, offset);
	}
}

/* In the rig with a block for each writer; what a board has may be smaller */
static void start_in_memory(FIXTURE_DATA(barrier) *self, const u32 *types, enum mt_iommu iommu)
{
	const struct bar *bar = memory_bar(NR_WRITERS * (mt_in_rig() ? MT_BLOCK : 4 * MT_PAGE));

	start(self, bar->bdf, bar->index, types, iommu);
}

static void go(FIXTURE_DATA(barrier) *self)
{
	writers_go(self->writers, NR_WRITERS);
}

static void warm_up(FIXTURE_DATA(barrier) *self)
{
	writers_warm_up(self->writers, NR_WRITERS);
}

/* Of the other mapping, it may be that it cannot be read now */
static void expect_stop(FIXTURE_DATA(barrier) *self, int run_errno, u32 exit_reason,
			bool readable)
{
	writers_expect_stop(self->writers, NR_WRITERS, run_errno, exit_reason,
			    readable ? self->other : NULL);
}

/* All that a vCPU takes for completed is in the BAR, and nothing else */
static void expect_words(FIXTURE_DATA(barrier) *self)
{
	struct writer *w;
	int i;

	for (i = 0; i < NR_WRITERS; i++) {
		w = &self->writers[i];
		TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, self->bar, w->offset),
			       writer_done(w));
		TEST_ASSERT_EQ(writer_word(w, self->hva), writer_done(w));
	}
}

/* No vCPU is in the guest here. A store that is late has ended the test */
static void stop(FIXTURE_DATA(barrier) *self, const char *what, unsigned long rounds)
{
	printf("# %s, %s and %s, %s: %lu rounds, no late store, %lu ms\n", what,
	       type_names[self->types[0]], type_names[self->types[1]],
	       mt_iommu_names[self->iommu], rounds,
	       (unsigned long)((now_ns() - self->t0) / 1000000));
	writers_end(self->writers, NR_WRITERS);
	kvm_vm_free(self->vm);
	munmap(self->hva, self->size);
	munmap(self->other, self->size);
	mt_dev_close(&self->dev);
}

FIXTURE_SETUP(barrier)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	self->rounds = mt_number("MT_ROUNDS", 1000);
}

FIXTURE_TEARDOWN(barrier)
{
}

TEST_F_TIMEOUT(barrier, delete_slot, ROUNDS_TIMEOUT)
{
	struct writer *w;
	unsigned long n;
	int i;

	start_in_memory(self, variant->types, variant->iommu);
	for (n = 0; n < self->rounds; n++) {
		go(self);
		warm_up(self);
		set_slot(self, false);
		expect_stop(self, 0, KVM_EXIT_MMIO, true);
		for (i = 0; i < NR_WRITERS; i++) {
			/* It is the next one; here the VMM emulates the device */
			w = &self->writers[i];
			TEST_ASSERT_EQ(w->mmio_addr, MT_GPA + w->offset);
			TEST_ASSERT_EQ(w->mmio_data, writer_done(w) + 1);
			TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, self->bar, w->offset),
				       writer_done(w));
			WRITE_ONCE(*(u64 *)(self->other + w->offset), w->mmio_data);
		}
		set_slot(self, true);
	}
	stop(self, "slot deleted", n);
}

TEST_F_TIMEOUT(barrier, munmap, ROUNDS_TIMEOUT)
{
	unsigned long n;

	start_in_memory(self, variant->types, variant->iommu);
	for (n = 0; n < self->rounds; n++) {
		go(self);
		warm_up(self);
		TEST_ASSERT(!munmap(self->hva, self->size), "munmap: %s", strerror(errno));
		expect_stop(self, EFAULT, KVM_EXIT_MEMORY_FAULT, true);
		map_halves(self);
		expect_words(self);
	}
	stop(self, "munmap", n);
}

TEST_F_TIMEOUT(barrier, disable_memory, ROUNDS_TIMEOUT)
{
	unsigned long n;
	u16 command;

	start_in_memory(self, variant->types, variant->iommu);
	command = mt_dev_command(&self->dev) | PCI_COMMAND_MEMORY;
	for (n = 0; n < self->rounds; n++) {
		go(self);
		warm_up(self);
		mt_dev_set_command(&self->dev, command & ~PCI_COMMAND_MEMORY);
		expect_stop(self, EFAULT, KVM_EXIT_MEMORY_FAULT, false);
		mt_dev_set_command(&self->dev, command);
		expect_words(self);
	}
	stop(self, "memory disabled", n);
}

/* Its guest does, and the VMM does in the device what the guest has written */
static void guest_sets_power_state(FIXTURE_DATA(barrier) *self, u16 state)
{
	struct kvm_run *run = self->driver->run;
	struct vfio_region_info info;
	u64 offset;

	vcpu_run(self->driver);
	TEST_ASSERT_KVM_EXIT_REASON(self->driver, KVM_EXIT_MMIO);
	offset = run->mmio.phys_addr - self->config_gpa;
	TEST_ASSERT(run->mmio.is_write && run->mmio.len == sizeof(state) &&
		    !memcmp(run->mmio.data, &state, sizeof(state)) &&
		    offset == mt_dev_pm_control(&self->dev),
		    "The guest writes %u bytes to config space at %#lx", run->mmio.len,
		    (unsigned long)offset);
	mt_dev_region(&self->dev, VFIO_PCI_CONFIG_REGION_INDEX, &info);
	TEST_ASSERT_EQ(pwrite(self->dev.fd, run->mmio.data, run->mmio.len,
			      info.offset + offset), sizeof(state));
}

/* What each vCPU writes through is at stage 2 what the VMM has mapped it as */
static void expect_types(FIXTURE_DATA(barrier) *self)
{
	int i;

	for (i = 0; i < NR_WRITERS; i++)
		mt_expect_type(self->vm, self->writers[i].gpa,
			       self->types[i] == STRICT ? S2_DEVICE : S2_NC, NULL);
}

/*
 * It takes 10 ms and more each time, hence fewer rounds. From the second one on they
 * begin with a look at what has come back.
 */
static void sleep_and_wake(FIXTURE_DATA(barrier) *self, bool by_guest)
{
	unsigned long n, rounds = max(self->rounds / 8, 2UL);

	vcpu_args_set(self->driver, 1, self->config_gpa + mt_dev_pm_control(&self->dev));
	for (n = 0; n < rounds; n++) {
		go(self);
		warm_up(self);
		expect_types(self);
		if (by_guest)
			guest_sets_power_state(self, 3);
		else
			mt_dev_set_power_state(&self->dev, 3);
		expect_stop(self, EFAULT, KVM_EXIT_MEMORY_FAULT, false);
		if (by_guest)
			guest_sets_power_state(self, 0);
		else
			mt_dev_set_power_state(&self->dev, 0);
		expect_words(self);
	}
	stop(self, by_guest ? "D3hot by the guest" : "D3hot", n);
}

TEST_F_TIMEOUT(barrier, d3hot, ROUNDS_TIMEOUT)
{
	start(self, NVME, bars[BAR_CMB].index, variant->types, variant->iommu);
	sleep_and_wake(self, false);
}

/* A vCPU writes PMCSR while the others write to the BAR */
TEST_F_TIMEOUT(barrier, d3hot_by_guest, ROUNDS_TIMEOUT)
{
	start(self, NVME, bars[BAR_CMB].index, variant->types, variant->iommu);
	sleep_and_wake(self, true);
}

/* Looks at the vCPUs every few milliseconds while the reset goes on */
struct witness {
	FIXTURE_DATA(barrier) *self;
	pthread_t thread;
	bool end;
	s64 begin_ns;		/* before the reset */
	s64 longest_quiet_ns;	/* nobody wrote */
	s64 longest_gap_ns;	/* nobody looked */
};

static void *witness_thread(void *arg)
{
	struct timespec pause = { .tv_nsec = 2000000 };
	const struct sched_param fifo = { .sched_priority = 2 };
	struct witness *witness = arg;
	struct writer *writers = witness->self->writers;
	s64 now, last = witness->begin_ns, quiet_since = last;
	u64 done[NR_WRITERS] = {};
	int i;

	pin_to_cpu(0);
	sched_setscheduler(0, SCHED_FIFO, &fifo);
	while (!READ_ONCE(witness->end)) {
		now = now_ns();
		witness->longest_gap_ns = max(witness->longest_gap_ns, now - last);
		last = now;
		for (i = 0; i < NR_WRITERS; i++) {
			if (done[i] != READ_ONCE(*writers[i].done))
				quiet_since = now;
			done[i] = READ_ONCE(*writers[i].done);
		}
		witness->longest_quiet_ns = max(witness->longest_quiet_ns, now - quiet_since);
		nanosleep(&pause, NULL);
	}
	witness->longest_gap_ns = max(witness->longest_gap_ns, now_ns() - last);
	return NULL;
}

#define MS	1000000L

/*
 * A reset takes the mappings away while it goes on, and afterwards they come back
 * by faults. It is a function-level reset, after which the PCI core waits 100 ms:
 * one who looks every 25 ms sees no write for 50 ms at least. A look that comes later
 * says nothing, and the round is not counted. Rounds are fewer for those 100 ms.
 */
TEST_F_TIMEOUT(barrier, reset, ROUNDS_TIMEOUT)
{
	unsigned long n = 0, late = 0, rounds = max(self->rounds / 10, 1UL);
	struct witness witness;
	struct writer *w;
	int i;

	start(self, NVME, bars[BAR_CMB].index, variant->types, variant->iommu);
	while (n < rounds) {
		go(self);
		warm_up(self);
		memset(&witness, 0, sizeof(witness));
		witness.self = self;
		witness.begin_ns = now_ns();
		TEST_ASSERT(!pthread_create(&witness.thread, NULL, witness_thread, &witness),
			    "pthread_create");
		TEST_ASSERT(!ioctl(self->dev.fd, VFIO_DEVICE_RESET), "VFIO_DEVICE_RESET: %s",
			    strerror(errno));
		WRITE_ONCE(witness.end, true);
		pthread_join(witness.thread, NULL);
		if (witness.longest_gap_ns < 25 * MS) {
			TEST_ASSERT(witness.longest_quiet_ns > 40 * MS,
				    "The vCPUs write during the reset: %ld ms without",
				    (long)(witness.longest_quiet_ns / MS));
			n++;
		} else {
			TEST_ASSERT(++late < 20 + rounds, "Nobody looks often enough");
		}

		warm_up(self);
		set_slot(self, false);
		expect_stop(self, 0, KVM_EXIT_MMIO, true);
		for (i = 0; i < NR_WRITERS; i++) {
			w = &self->writers[i];
			TEST_ASSERT_EQ(w->mmio_data, writer_done(w) + 1);
			TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, self->bar, w->offset),
				       writer_done(w));
			WRITE_ONCE(*(u64 *)(self->other + w->offset), w->mmio_data);
		}
		set_slot(self, true);
	}
	stop(self, "reset", n);
}

MT_NEEDS(MT_VFIO)

TEST_HARNESS_MAIN
