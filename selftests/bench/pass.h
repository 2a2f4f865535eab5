/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Passes over a block of memory that the host and a guest make by the same code: loads
 * and stores of one size that are timed, and patterns that are checked. And a guest that
 * makes them, with the stage-1 memory type of the test's choice.
 *
 * The timed ones access naturally aligned addresses only, which is what Device memory
 * takes (all others raise an alignment fault there; so does DC ZVA).
 */
#ifndef SELFTEST_PASS_H
#define SELFTEST_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "kvm_util.h"

/* A block has a multiple of that many bytes, and is aligned so */
#define PASS_UNIT	256UL
/* What there is to copy from: one buffer, the host's and, with the same words, a guest's */
#define PASS_MAX	0x10000UL

enum pass_op {
	/* Stores of val, byte for byte the same, so many bytes by one instruction */
	PASS_STORE_1,		/* strb */
	PASS_STORE_2,		/* strh */
	PASS_STORE_4,		/* str w */
	PASS_STORE_8,		/* str x */
	PASS_STORE_16,		/* stp x, x */
	PASS_STORE_32,		/* stp q, q: what memset() does with anything but zero */
	PASS_STORE_64,		/* st1 of four registers */
	PASS_COPY,		/* ldp and stp of q registers */
	PASS_COPY_LIBC,		/* in the host only */
	PASS_ZERO,		/* dc zva: what memset() does with zero */
	/* Loads; val becomes the sum of the 64-bit words */
	PASS_LOAD_8,		/* ldr x */
	PASS_LOAD_16,		/* ldp x, x */
	PASS_LOAD_32,		/* ldp q, q */
	PASS_NR_TIMED,

	/* Of 64-bit words that follow from val, the seed */
	PASS_FILL = PASS_NR_TIMED,
	PASS_CHECK,		/* counts lines that have anything else */
	PASS_CHECK_SAME,	/* the same, of words that are val */
	/* Cache maintenance to the point of coherency, by line */
	PASS_CLEAN,
	PASS_CLEAN_INVAL,
};

struct pass {
	u64 op;
	u64 addr;
	u64 size;
	u64 line;		/* bytes of a cache line */
	u64 val;
	u64 timed;		/* ticks becomes the CNTVCT_EL0 that it takes */

	u64 ticks;
	u64 wrong;		/* lines */
	u64 first;		/* offset of the first wrong word */
};

/* In the host, by the address of the host; val for PASS_COPY is the seed of the source */
void pass_in_host(struct pass *pass);

/* What a pass of loads returns for a block that PASS_FILL has filled */
u64 pass_sum(u64 seed, u64 size);

/* Smallest line of any data cache, CTR_EL0.DminLine */
u64 pass_line(void);
/* CNTFRQ_EL0 */
u64 pass_frequency(void);
/* DC ZVA does something (DCZID_EL0.DZP) and its block divides PASS_UNIT */
bool pass_has_zva(void);
/* A machine of QEMU's, which has no caches, and whose times are the emulator's */
bool pass_emulated(void);

struct pass_guest {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
};

/*
 * A guest that maps size bytes at MT_GPA, where the test puts a memslot, by that index
 * of libkvm's MAIR_EL1: MT_NORMAL, MT_NORMAL_NC or MT_DEVICE_nGnRE
 */
struct pass_guest pass_guest_create(u64 size, u8 attr_index);
void pass_guest_free(struct pass_guest *guest);
/* By the guest, at an offset of that memory in place of an address */
void pass_in_guest(struct pass_guest *guest, struct pass *pass);
/* The CPU has FEAT_S2FWB, and KVM uses it where there is */
bool pass_guest_has_fwb(struct pass_guest *guest);

#endif /* SELFTEST_PASS_H */
