/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vCPUs that write a counter to words of a BAR as fast as they can, while the host
 * takes it away: a writer stops at its next store, what it has completed is what is
 * in the BAR, and nothing lands there once it has been taken away.
 */
#ifndef SELFTEST_WRITERS_H
#define SELFTEST_WRITERS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <linux/types.h>

#include "kvm_util.h"

#define MAX_WRITERS	3

struct writer {
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	sem_t stopped;		/* posted by the thread: it is not in the guest */
	sem_t go;		/* waited for by the thread */
	u64 gpa;		/* of its word */
	u64 offset;		/* the same in the VMM's mappings */
	u64 *done;
	bool quit;
	int run_errno;		/* why it stopped */
	u32 exit_reason;
	u64 mmio_data;
	u64 mmio_addr;
};

/* What the vCPUs that write run; writer_start() sets its arguments */
void writer_guest(u64 gpa, u64 vcpu);

/*
 * The thread that takes the BAR away shares a CPU with all vCPUs but the first, and goes
 * on at once when it wakes up: rounds are short.
 */
void writers_host(void);
/* A thread for the vCPU, which waits for writers_go() */
void writer_start(struct writer *w, struct kvm_vcpu *vcpu, u64 gpa, u64 offset);
/* Of those that are not in the guest */
void writers_end(struct writer *writers, int nr);

void writers_go(struct writer *writers, int nr);
/* Every vCPU writes, and does so without a fault by now */
void writers_warm_up(struct writer *writers, int nr);
/*
 * The host's call that takes it away has returned. What the vCPUs have completed by now
 * may grow by the one write that was in flight, whose completion the guest had not noted
 * yet. The words are looked at through a mapping that is still there, or NULL.
 */
void writers_expect_stop(struct writer *writers, int nr, int run_errno, u32 exit_reason,
			 void *hva);

/* What a vCPU has in the BAR, by one of the VMM's mappings, and what it has done */
u64 writer_word(struct writer *w, void *hva);
u64 writer_done(struct writer *w);

/* The thread that calls */
void pin_to_cpu(int cpu);
s64 now_ns(void);

#endif /* SELFTEST_WRITERS_H */
