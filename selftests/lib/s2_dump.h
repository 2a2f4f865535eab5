/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What KVM has mapped at stage 2, from the dump in debugfs, and what a test expects
 * there.
 */
#ifndef SELFTEST_S2_DUMP_H
#define SELFTEST_S2_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

struct kvm_vm;

/* Memory types as the stage-2 dump prints them */
#define S2_WB		"MEM/NORMAL"
#define S2_NC		"MEM/NORMAL-NC"
#define S2_DEVICE	"DEVICE/nGnRE"

/* One line of the stage-2 dump: leaves of one size with the same attributes */
struct s2_range {
	u64 start;
	u64 end;
	u64 leaf_size;
	bool readable;
	bool writable;
	bool xn;		/* neither EL1 nor EL0 may execute */
	char perms[24];		/* everything but the type, as printed */
	char type[24];		/* empty where the kernel prints none */
};

/* The dump is absent where KVM has no right to the tables (pKVM). */
bool s2_dump_exists(struct kvm_vm *vm);
/* Valid leaves that intersect the range, clipped to it; the caller frees */
size_t s2_dump(struct kvm_vm *vm, u64 gpa, u64 size, struct s2_range **ranges);
/* The same from another file of the VM's directory: shadows of nested guests */
bool s2_dump_file_exists(struct kvm_vm *vm, const char *file);
size_t s2_dump_file(struct kvm_vm *vm, const char *file, u64 gpa, u64 size,
		    struct s2_range **ranges);
bool s2_find(struct kvm_vm *vm, u64 gpa, struct s2_range *range);
/* Number of leaves of that size in the range, of any size if 0 */
u64 s2_count(struct kvm_vm *vm, u64 gpa, u64 size, u64 leaf_size);

/* As printed, where the kernel prints it; one that has the flag has to */
bool s2_type_is(const struct s2_range *range, const char *type);

/*
 * It is mapped with that type, where the kernel prints it; one that has the flag
 * has to. *range becomes the line of the dump, unless range is NULL.
 */
void mt_expect_type(struct kvm_vm *vm, u64 gpa, const char *type, struct s2_range *range);
/* Something is mapped there, and all of it is non-cacheable and not executable */
void mt_expect_nc(struct kvm_vm *vm, u64 gpa, u64 size, const char *when);

#endif /* SELFTEST_S2_DUMP_H */
