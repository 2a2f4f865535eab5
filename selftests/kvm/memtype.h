/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the stage-2 memory-type tests share: backing memory of every kind, the
 * stage-2 dump, and a guest that does one access at a time and says what came
 * of it.
 */
#ifndef SELFTEST_MEMTYPE_H
#define SELFTEST_MEMTYPE_H

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kvm_util.h"
#include "processor.h"
#include "memtype_test.h"

/* Where the memory under test is in the guest; mapped one to one at stage 1 */
#define MT_GPA		0x80000000UL
#define MT_SLOT		10

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
bool s2_find(struct kvm_vm *vm, u64 gpa, struct s2_range *range);
/* Number of leaves of that size in the range, of any size if 0 */
u64 s2_count(struct kvm_vm *vm, u64 gpa, u64 size, u64 leaf_size);

enum mt_op {
	MT_LDR,			/* 8 bytes */
	MT_STR,
	MT_LDP,			/* 16 bytes */
	MT_STP,
	MT_LDXR,		/* LDXR and STXR until it succeeds */
	MT_LDADD,		/* needs FEAT_LSE */
	MT_EXEC,		/* branch there and come back */
	MT_CIVAC,		/* clean and invalidate to PoC */
	MT_TIMED_STR,		/* as MT_STR, val becomes the CNTVCT_EL0 it took */
	MT_FILL,		/* write one word in each of val pages */
	MT_COPY,		/* copy val bytes from MT_COPY_FROM, as memcpy() does */
	MT_FILL_ODD,		/* the same in every second page of 2 * val */
	MT_NR_OPS
};

/* Guest memory (write-back) that MT_COPY reads, and what it holds there */
#define MT_COPY_MAX	256UL
u8 mt_copy_byte(u64 i);

extern const char * const mt_op_names[MT_NR_OPS];

/* What became of one guest access */
struct mt_result {
	int run_errno;		/* of KVM_RUN, 0 if the access completed */
	u32 exit_reason;
	u64 esr;		/* exception that the guest took, 0 if none */
	u64 val;		/* what it read */
	struct {
		u64 flags;
		u64 gpa;
		u64 size;
	} fault;		/* kvm_run.memory_fault */
};

/* A VM whose guest can reach size bytes from MT_GPA */
struct kvm_vm *mt_vm_create(struct kvm_vcpu **vcpu, u64 size);

/* Capabilities that KVM takes only before there are memslots or vCPUs */
struct mt_caps {
	u64 manual_protect;	/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
	u64 eager_chunk;	/* KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE */
	u32 ring_entries;	/* KVM_CAP_DIRTY_LOG_RING_ACQ_REL */
	bool ring_bitmap;	/* KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP */
	bool mte;		/* KVM_CAP_ARM_MTE */
};

struct kvm_vm *mt_vm_create_caps(struct kvm_vcpu **vcpu, u64 size,
				 const struct mt_caps *caps);
/*
 * One access. A misaligned one is preceded by an aligned read or write of the
 * same kind, because QEMU reports the alignment fault of a cold TLB to EL2,
 * where KVM cannot handle it; real CPUs always report it to EL1.
 */
struct mt_result mt_access(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val);
bool mt_alignment_fault(const struct mt_result *r);
bool mt_external_abort(const struct mt_result *r);
/* "ok", "alignment fault" and so on; a static buffer */
const char *mt_outcome(const struct mt_result *r);
/* The access completes without an exception */
u64 mt_access_ok(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val);

/* The access has that outcome, in mt_outcome()'s words */
void mt_expect_outcome(struct kvm_vcpu *vcpu, enum mt_op op, u64 gpa, u64 val,
		       const char *want);
/*
 * It is mapped with that type, where the kernel prints it; one that has the flag
 * has to. *range becomes the line of the dump, unless range is NULL.
 */
void mt_expect_type(struct kvm_vm *vm, u64 gpa, const char *type, struct s2_range *range);
/* What is mapped there is non-cacheable and not executable */
void mt_expect_nc(struct kvm_vm *vm, u64 gpa, u64 size, const char *when);

/* KVM_SET_USER_MEMORY_REGION2, on MT_SLOT or another; return the errno */
int mt_set_slot_nr(struct kvm_vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *hva);
int mt_set_slot(struct kvm_vm *vm, u32 flags, u64 gpa, u64 size, void *hva);

/*
 * A table of what becomes of slots over that memory: two rows, without and with
 * KVM_MEM_NONCACHEABLE
 */
void mt_show_header(void);
void mt_show_slot(const char *name, void *hva, u64 size);

/* Open and configure /dev/memtype_test; skips the test if it is not there */
int mt_test_open(const struct memtype_test_config *config);
/* Aligned as the file offset is, up to 2 MiB */
void *mt_mmap(int fd, u64 size, int prot, int flags, u64 offset);
void mt_zap(int fd, u64 offset, u64 size);
/* The host's entry, after reading (or writing) there so that it exists */
struct memtype_test_pte mt_host_pte(int fd, void *hva);

/* How a vfio-pci device is opened */
enum mt_iommu {
	MT_TYPE1,		/* group, type1 container */
	MT_COMPAT,		/* group, an iommufd in the container's place */
	MT_CDEV,		/* the device's own node, iommufd */
	MT_NR_IOMMUS
};

extern const char * const mt_iommu_names[MT_NR_IOMMUS];

struct mt_dev {
	char bdf[16];
	int container;		/* or iommufd */
	int group;		/* -1 with MT_CDEV */
	int fd;
};

/* Binds it to vfio-pci, whoever had it; skips the test if there is no such device */
void mt_dev_open(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu);
/* The same with another driver than vfio-pci */
void mt_dev_open_driver(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu,
			const char *driver);
void mt_dev_close(struct mt_dev *dev);
/* From its driver; nobody may have it open */
void mt_unbind(const char *bdf);
/* Returns false if the region is absent or cannot be mapped */
bool mt_dev_region(struct mt_dev *dev, int index, struct vfio_region_info *info);
/* Aligned as the offset in the BAR is, up to 2 MiB */
void *mt_dev_map(struct mt_dev *dev, int index, u64 offset, u64 size);
/* Through the device's descriptor: of a BAR, another mapping, made by the kernel */
void mt_dev_read(struct mt_dev *dev, int index, u64 offset, void *buf, size_t size);
u64 mt_dev_read_word(struct mt_dev *dev, int index, u64 offset);
u16 mt_dev_command(struct mt_dev *dev);
void mt_dev_set_command(struct mt_dev *dev, u16 command);

/* The ivshmem device that has a BAR 2 of 64 MiB, prefetchable and memory */
#define MT_IVSHMEM	"0000:00:02.0"

/* A device and the first 4 MiB of one of its BARs */
struct mt_bar {
	struct mt_dev dev;
	int index;
	u64 size;
	void *hva;
};

void mt_bar_open(struct mt_bar *bar, const char *bdf, int index, enum mt_iommu iommu);
void mt_bar_close(struct mt_bar *bar);

/* 2 MiB aligned anonymous, hugetlb or memfd memory; NULL if there is none */
void *mt_anon(u64 size);
void *mt_hugetlb(u64 size);

bool mt_host_has_lse(void);
bool mt_host_is_pkvm(void);
/* FEAT_S2FWB and CTR_EL0.DIC: PFNMAP memory may be Write-Back */
bool mt_has_cacheable_pfnmap(struct kvm_vm *vm);
/* Skips the test where no VM takes the flag */
void mt_require_noncacheable(void);

/* Skips the test where KVM maps no PFNMAP memory at all (pKVM) */
void mt_require_pfnmap(void);

/*
 * Compare error numbers. A libkvm assertion that fails while errno is EACCES
 * exits as a skip, hence errno is cleared.
 */
#define MT_EXPECT_ERRNO(expr, want)					\
do {									\
	int __got = (expr), __want = (want);				\
									\
	errno = 0;							\
	TEST_ASSERT(__got == __want, "%s: got %d (%s), expected %d (%s)",\
		    #expr, __got, strerror(__got), __want,		\
		    strerror(__want));					\
} while (0)

/*
 * Ends the test as skipped. In the harness the reason goes where its SKIP() puts
 * it, which only the test itself knows: MT_TEST() and fixtures tell.
 */
void __noreturn __printf(1, 2) mt_skip(const char *fmt, ...);
extern char *mt_skip_reason;

#define MT_SKIP_TO_HARNESS()	(mt_skip_reason = _metadata->results->reason)

/* TEST() of the harness whose helpers may skip */
#define MT_TEST(name)							\
	static void do_##name(void);					\
	TEST(name)							\
	{								\
		MT_SKIP_TO_HARNESS();					\
		do_##name();						\
	}								\
	static void do_##name(void)

#endif /* SELFTEST_MEMTYPE_H */
