// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_barrier - Taking a BAR away from running vCPUs is a barrier
 *
 * Two vCPUs write a counter to words of a BAR as fast as they can, while the host
 * deletes the memslot, unmaps the VMM's mapping, clears the memory enable bit in
 * config space or resets the function. Once the host's call has returned, no
 * write lands through the old mapping: every vCPU stops at its next store, with
 * an exit for MMIO where there is no memslot and -EFAULT where there is no
 * mapping, the word in the BAR is exactly what the vCPU has completed, and after
 * the host has put things back the VM goes on.
 *
 * MT_ROUNDS in the environment is the number of rounds of each test.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/mman.h>
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
#include "vfio_dev.h"

#define NR_VCPUS	2
#define HALF		SZ_2M
#define SIZE		(NR_VCPUS * HALF)
#define TIMEOUT_S	20

/* Writes of each vCPU before the host acts: the translations are in the TLB */
#define WARM		20

/* The guest's: a word for each vCPU in cache lines of their own */
static struct {
	u64 done;		/* the last write that has completed */
	u64 pad[15];
} progress[NR_VCPUS];

static void guest_main(u64 gpa, u64 vcpu)
{
	u64 n = progress[vcpu].done;

	for (;;) {
		n++;
		asm volatile("str %0, [%1]\n"
			     "dsb sy" :: "r" (n), "r" (gpa) : "memory");
		WRITE_ONCE(progress[vcpu].done, n);
	}
}

struct writer {
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	sem_t stopped;		/* posted by the thread: it is not in the guest */
	sem_t go;		/* waited for by the thread */
	u64 offset;		/* of its word in the BAR */
	u64 *done;
	bool quit;
	int run_errno;		/* why it stopped */
	u32 exit_reason;
	u64 mmio_data;
	u64 mmio_addr;
};

FIXTURE(barrier)
{
	struct mt_dev dev;
	struct kvm_vm *vm;
	struct writer writers[NR_VCPUS];
	int bar;
	const u32 *types;
	u32 slot_flags;
	void *hva;		/* behind the memslot */
	void *other;		/* another mapping of the same */
	unsigned long rounds;
	s64 t0;
};

/* One vCPU's half of the slot and the other's */
FIXTURE_VARIANT(barrier)
{
	u32 types[NR_VCPUS];
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

/* The first vCPU has a CPU to itself, the other shares one with the host's calls */
static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity: %s",
		    strerror(errno));
}

static void *writer_thread(void *arg)
{
	struct writer *w = arg;
	int ret;

	pin(w->vcpu->id ? 0 : 1);
	for (;;) {
		sem_wait(&w->go);
		if (w->quit)
			return NULL;
		do {
			w->vcpu->run->exit_reason = 0;
			ret = __vcpu_run(w->vcpu);
		} while (ret == -1 && errno == EINTR);
		w->run_errno = ret ? errno : 0;
		w->exit_reason = w->vcpu->run->exit_reason;
		w->mmio_addr = w->vcpu->run->mmio.phys_addr;
		memcpy(&w->mmio_data, w->vcpu->run->mmio.data, 8);
		sem_post(&w->stopped);
	}
}

static s64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return timespec_to_ns(now);
}

/* What a vCPU has in the BAR, by one of the VMM's mappings, and what it has done */
static u64 word_in(struct writer *w, void *hva)
{
	return READ_ONCE(*(u64 *)(hva + w->offset));
}

static u64 done_by(struct writer *w)
{
	return READ_ONCE(*w->done);
}

static void set_slot(FIXTURE_DATA(barrier) *self, bool there)
{
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, there ? self->slot_flags : 0, MT_GPA,
				    there ? SIZE : 0, self->hva), 0);
}

/* A vCPU writes to one half of the BAR's part, which may have a type of its own */
static void map_halves(FIXTURE_DATA(barrier) *self)
{
	struct vfio_region_info info;
	u64 offset;
	void *hva;
	int i;

	mt_dev_region(&self->dev, self->bar, &info);
	for (i = 0; i < NR_VCPUS; i++) {
		/* An older kernel has the default's, too */
		offset = self->types[i] == DEFAULT ? info.offset :
			 mt_dev_offset(&self->dev, self->bar, self->types[i]);
		hva = mmap(self->hva + i * HALF, HALF, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, self->dev.fd, offset + i * HALF);
		TEST_ASSERT(hva == self->hva + i * HALF, "mmap: %s", strerror(errno));
	}
}

static void start(FIXTURE_DATA(barrier) *self, const char *bdf, int bar, const u32 *types,
		  enum mt_iommu iommu)
{
	const struct sched_param fifo = { .sched_priority = 1 };
	struct kvm_vcpu *vcpus[NR_VCPUS];
	struct writer *w;
	int i;

	memset(progress, 0, sizeof(progress));
	self->bar = bar;
	self->types = types;
	mt_dev_open(&self->dev, bdf, iommu);
	if (types[0] != DEFAULT)
		require_memtype(&self->dev);
	/* What a VMM does with a write-combine mapping */
	if (types[0] == WRITE_COMBINE && kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		self->slot_flags = KVM_MEM_NONCACHEABLE;
	self->t0 = now_ns();
	/* For the alignment of the address */
	self->hva = mt_dev_map(&self->dev, bar, 0, SIZE);
	map_halves(self);
	self->other = mt_dev_map(&self->dev, bar, 0, SIZE);

	self->vm = __vm_create_with_vcpus(VM_SHAPE_DEFAULT, NR_VCPUS, SIZE / SZ_4K,
					  guest_main, vcpus);
	virt_map(self->vm, MT_GPA, MT_GPA, SIZE / SZ_4K);
	set_slot(self, true);
	pin(0);
	/* Where it wakes up, it goes on at once: rounds are short */
	TEST_ASSERT(!sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &fifo),
		    "SCHED_FIFO: %s", strerror(errno));
	for (i = 0; i < NR_VCPUS; i++) {
		w = &self->writers[i];
		memset(w, 0, sizeof(*w));
		w->vcpu = vcpus[i];
		/* One in either block */
		w->offset = i * HALF + SZ_8K + 64 * i;
		w->done = (u64 *)addr_gva2hva(self->vm, (u64)&progress[i].done);
		vcpu_args_set(w->vcpu, 2, MT_GPA + w->offset, (u64)i);
		WRITE_ONCE(*(u64 *)(self->hva + w->offset), 0);
		sem_init(&w->stopped, 0, 0);
		sem_init(&w->go, 0, 0);
		TEST_ASSERT(!pthread_create(&w->thread, NULL, writer_thread, w),
			    "pthread_create");
	}
}

static void go(FIXTURE_DATA(barrier) *self)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		sem_post(&self->writers[i].go);
}

/* Every vCPU writes, and does so without a fault by now */
static void warm_up(FIXTURE_DATA(barrier) *self)
{
	/* Long enough for a vCPU on this CPU to get somewhere, also when emulated */
	struct timespec pause = { .tv_nsec = 500000 };
	unsigned long tries;
	u64 first;
	int i, value;

	for (i = 0; i < NR_VCPUS; i++) {
		struct writer *w = &self->writers[i];

		first = done_by(w);
		for (tries = 0; done_by(w) < first + WARM; tries++) {
			sem_getvalue(&w->stopped, &value);
			TEST_ASSERT(!value, "vCPU %d stopped: errno %d, exit %s", i,
				    w->run_errno, exit_reason_str(w->exit_reason));
			TEST_ASSERT(tries < 20000, "vCPU %d does not go on", i);
			nanosleep(&pause, NULL);
		}
	}
}

/*
 * The host's call has returned. What the vCPUs have completed by now may grow by
 * the one write that was in flight, whose completion the guest had not noted yet.
 */
static void expect_stop(FIXTURE_DATA(barrier) *self, int run_errno, u32 exit_reason,
			bool readable)
{
	u64 done[NR_VCPUS], word[NR_VCPUS];
	struct timespec deadline;
	struct writer *w;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		w = &self->writers[i];
		if (readable)
			word[i] = word_in(w, self->other);
		done[i] = done_by(w);
	}
	for (i = 0; i < NR_VCPUS; i++) {
		w = &self->writers[i];
		clock_gettime(CLOCK_REALTIME, &deadline);
		deadline.tv_sec += TIMEOUT_S;
		TEST_ASSERT(!sem_timedwait(&w->stopped, &deadline),
			    "vCPU %d goes on: %lu writes since", i,
			    (unsigned long)(done_by(w) - done[i]));
		TEST_ASSERT(w->run_errno == run_errno &&
			    w->exit_reason == exit_reason,
			    "vCPU %d: KVM_RUN errno %d, exit %s", i, w->run_errno,
			    exit_reason_str(w->exit_reason));
		TEST_ASSERT(done_by(w) <= done[i] + 1, "vCPU %d: %lu writes completed since", i,
			    (unsigned long)(done_by(w) - done[i]));
		if (readable)
			TEST_ASSERT(word_in(w, self->other) == word[i],
				    "vCPU %d: a write landed after the call, %lu is now %lu", i,
				    (unsigned long)word[i],
				    (unsigned long)word_in(w, self->other));
	}
}

/* All that a vCPU takes for completed is in the BAR, and nothing else */
static void expect_words(FIXTURE_DATA(barrier) *self)
{
	struct writer *w;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		w = &self->writers[i];
		TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, self->bar, w->offset),
			       done_by(w));
		TEST_ASSERT_EQ(word_in(w, self->hva), done_by(w));
	}
}

/* No vCPU is in the guest here */
static void stop(FIXTURE_DATA(barrier) *self)
{
	int i;

	printf("# %lu ms\n", (unsigned long)((now_ns() - self->t0) / 1000000));

	for (i = 0; i < NR_VCPUS; i++) {
		self->writers[i].quit = true;
		sem_post(&self->writers[i].go);
		pthread_join(self->writers[i].thread, NULL);
	}
	kvm_vm_free(self->vm);
	munmap(self->hva, SIZE);
	munmap(self->other, SIZE);
	mt_dev_close(&self->dev);
}

FIXTURE_SETUP(barrier)
{
	char *rounds = getenv("MT_ROUNDS");

	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	self->rounds = rounds ? strtoul(rounds, NULL, 0) : 1000;
}

FIXTURE_TEARDOWN(barrier)
{
}

TEST_F_TIMEOUT(barrier, delete_slot, 300)
{
	struct writer *w;
	unsigned long n;
	int i;

	start(self, IVSHMEM, 2, variant->types, variant->iommu);
	for (n = 0; n < self->rounds; n++) {
		go(self);
		warm_up(self);
		set_slot(self, false);
		expect_stop(self, 0, KVM_EXIT_MMIO, true);
		for (i = 0; i < NR_VCPUS; i++) {
			/* It is the next one; here the VMM emulates the device */
			w = &self->writers[i];
			TEST_ASSERT_EQ(w->mmio_addr, MT_GPA + w->offset);
			TEST_ASSERT_EQ(w->mmio_data, done_by(w) + 1);
			TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, self->bar, w->offset),
				       done_by(w));
			WRITE_ONCE(*(u64 *)(self->other + w->offset), w->mmio_data);
		}
		set_slot(self, true);
	}
	stop(self);
}

TEST_F_TIMEOUT(barrier, munmap, 300)
{
	unsigned long n;

	start(self, IVSHMEM, 2, variant->types, variant->iommu);
	for (n = 0; n < self->rounds; n++) {
		go(self);
		warm_up(self);
		TEST_ASSERT(!munmap(self->hva, SIZE), "munmap: %s", strerror(errno));
		expect_stop(self, EFAULT, KVM_EXIT_MEMORY_FAULT, true);
		map_halves(self);
		expect_words(self);
	}
	stop(self);
}

TEST_F_TIMEOUT(barrier, disable_memory, 300)
{
	unsigned long n;
	u16 command;

	start(self, IVSHMEM, 2, variant->types, variant->iommu);
	command = mt_dev_command(&self->dev) | PCI_COMMAND_MEMORY;
	for (n = 0; n < self->rounds; n++) {
		go(self);
		warm_up(self);
		mt_dev_set_command(&self->dev, command & ~PCI_COMMAND_MEMORY);
		expect_stop(self, EFAULT, KVM_EXIT_MEMORY_FAULT, false);
		mt_dev_set_command(&self->dev, command);
		expect_words(self);
	}
	stop(self);
}

static u8 pm_control(struct mt_dev *dev)
{
	u8 pos, id;

	mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_CAPABILITY_LIST, &pos, 1);
	while (pos) {
		mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, pos, &id, 1);
		if (id == PCI_CAP_ID_PM)
			return pos + PCI_PM_CTRL;
		mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, pos + 1, &pos, 1);
	}
	TEST_FAIL("%s has no power management", dev->bdf);
	return 0;
}

static void set_power_state(struct mt_dev *dev, u16 state)
{
	struct vfio_region_info info;

	mt_dev_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &info);
	TEST_ASSERT_EQ(pwrite(dev->fd, &state, sizeof(state), info.offset + pm_control(dev)),
		       sizeof(state));
}

/*
 * The VMM puts the device to sleep, as a guest does that writes PMCSR. It takes
 * 10 ms and more each time, hence fewer rounds.
 */
TEST_F_TIMEOUT(barrier, d3hot, 300)
{
	unsigned long n, rounds = max(self->rounds / 8, 1UL);

	start(self, NVME, bars[BAR_CMB].index, variant->types, variant->iommu);
	for (n = 0; n < rounds; n++) {
		go(self);
		warm_up(self);
		set_power_state(&self->dev, 3);
		expect_stop(self, EFAULT, KVM_EXIT_MEMORY_FAULT, false);
		set_power_state(&self->dev, 0);
		expect_words(self);
	}
	stop(self);
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
	u64 done[NR_VCPUS] = {};
	int i;

	pin(0);
	sched_setscheduler(0, SCHED_FIFO, &fifo);
	while (!READ_ONCE(witness->end)) {
		now = now_ns();
		witness->longest_gap_ns = max(witness->longest_gap_ns, now - last);
		last = now;
		for (i = 0; i < NR_VCPUS; i++) {
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
TEST_F_TIMEOUT(barrier, reset, 300)
{
	unsigned long n = 0, late = 0, rounds = max(self->rounds / 16, 1UL);
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
		for (i = 0; i < NR_VCPUS; i++) {
			w = &self->writers[i];
			TEST_ASSERT_EQ(w->mmio_data, done_by(w) + 1);
			TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, self->bar, w->offset),
				       done_by(w));
			WRITE_ONCE(*(u64 *)(self->other + w->offset), w->mmio_data);
		}
		set_slot(self, true);
	}
	stop(self);
}

TEST_HARNESS_MAIN
