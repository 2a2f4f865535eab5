// SPDX-License-Identifier: GPL-2.0
/* vCPUs that write to a BAR that is taken away; see writers.h */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "writers.h"

#define TIMEOUT_S	20

/* Writes of each vCPU before the host acts: the translations are in the TLB */
#define WARM		20

/* The guest's: a word for each vCPU in cache lines of their own */
static struct {
	u64 done;		/* the last write that has completed */
	u64 pad[15];
} progress[MAX_WRITERS];

void writer_guest(u64 gpa, u64 vcpu)
{
	u64 n = progress[vcpu].done;

	for (;;) {
		n++;
		asm volatile("str %0, [%1]\n"
			     "dsb sy" :: "r" (n), "r" (gpa) : "memory");
		WRITE_ONCE(progress[vcpu].done, n);
	}
}

void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity: %s",
		    strerror(errno));
}

s64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return timespec_to_ns(now);
}

static void *writer_thread(void *arg)
{
	struct writer *w = arg;
	int ret;

	pin_to_cpu(w->vcpu->id ? 0 : 1);
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

void writers_host(void)
{
	const struct sched_param fifo = { .sched_priority = 1 };

	pin_to_cpu(0);
	TEST_ASSERT(!sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &fifo),
		    "SCHED_FIFO: %s", strerror(errno));
}

void writer_start(struct writer *w, struct kvm_vcpu *vcpu, u64 gpa, u64 offset)
{
	TEST_ASSERT(vcpu->id < MAX_WRITERS, "vCPU %u", vcpu->id);
	memset(w, 0, sizeof(*w));
	w->vcpu = vcpu;
	w->gpa = gpa;
	w->offset = offset;
	w->done = addr_gva2hva(vcpu->vm, (u64)&progress[vcpu->id].done);
	vcpu_args_set(vcpu, 2, gpa, (u64)vcpu->id);
	sem_init(&w->stopped, 0, 0);
	sem_init(&w->go, 0, 0);
	TEST_ASSERT(!pthread_create(&w->thread, NULL, writer_thread, w), "pthread_create");
}

void writers_end(struct writer *writers, int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		writers[i].quit = true;
		sem_post(&writers[i].go);
		pthread_join(writers[i].thread, NULL);
	}
}

void writers_go(struct writer *writers, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		sem_post(&writers[i].go);
}

u64 writer_word(struct writer *w, void *hva)
{
	return READ_ONCE(*(u64 *)(hva + w->offset));
}

u64 writer_done(struct writer *w)
{
	return READ_ONCE(*w->done);
}

void writers_warm_up(struct writer *writers, int nr)
{
	/* Long enough for a vCPU on this CPU to get somewhere, also when emulated */
	struct timespec pause = { .tv_nsec = 500000 };
	unsigned long tries;
	u64 first;
	int i, value;

	for (i = 0; i < nr; i++) {
		struct writer *w = &writers[i];

		first = writer_done(w);
		for (tries = 0; writer_done(w) < first + WARM; tries++) {
			sem_getvalue(&w->stopped, &value);
			TEST_ASSERT(!value, "vCPU %u stopped: errno %d, exit %s", w->vcpu->id,
				    w->run_errno, exit_reason_str(w->exit_reason));
			TEST_ASSERT(tries < 20000, "vCPU %u does not go on", w->vcpu->id);
			nanosleep(&pause, NULL);
		}
	}
}

void writers_expect_stop(struct writer *writers, int nr, int run_errno, u32 exit_reason,
			 void *hva)
{
	u64 done[MAX_WRITERS], word[MAX_WRITERS];
	struct timespec deadline;
	struct writer *w;
	int i;

	for (i = 0; i < nr; i++) {
		w = &writers[i];
		if (hva)
			word[i] = writer_word(w, hva);
		done[i] = writer_done(w);
	}
	for (i = 0; i < nr; i++) {
		w = &writers[i];
		clock_gettime(CLOCK_REALTIME, &deadline);
		deadline.tv_sec += TIMEOUT_S;
		TEST_ASSERT(!sem_timedwait(&w->stopped, &deadline),
			    "vCPU %u goes on: %lu writes since", w->vcpu->id,
			    (unsigned long)(writer_done(w) - done[i]));
		TEST_ASSERT(w->run_errno == run_errno &&
			    w->exit_reason == exit_reason,
			    "vCPU %u: KVM_RUN errno %d, exit %s", w->vcpu->id, w->run_errno,
			    exit_reason_str(w->exit_reason));
		TEST_ASSERT(writer_done(w) <= done[i] + 1,
			    "vCPU %u: %lu writes completed since", w->vcpu->id,
			    (unsigned long)(writer_done(w) - done[i]));
		if (hva)
			TEST_ASSERT(writer_word(w, hva) == word[i],
				    "vCPU %u: a write landed after the call, %lu is now %lu",
				    w->vcpu->id, (unsigned long)word[i],
				    (unsigned long)writer_word(w, hva));
	}
}
