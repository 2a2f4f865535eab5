// SPDX-License-Identifier: GPL-2.0
/* A table of what becomes of memslots; see memslot_table.h */
#include <stdio.h>

#include <linux/kvm_memtype.h>

#include "guest.h"
#include "memslot.h"
#include "memslot_table.h"
#include "pages.h"
#include "s2_dump.h"

static void show_row(const char *name, const char *flag, const char *slot, const char *type,
		     const char *leaf, const char *access)
{
	printf("%-33s %-4s %-16s %-14s %-4s %s\n", name, flag, slot, type, leaf, access);
}

void mt_show_header(void)
{
	show_row("memory behind the slot", "flag", "slot", "stage 2", "leaf",
		 "the guest's unaligned store");
}

void mt_show_slot(const char *name, void *hva, u64 size)
{
	int flag;

	for (flag = 0; flag < 2; flag++) {
		const char *type = "-", *leaf = "-", *access = "-";
		char slot[32] = "accepted";
		struct s2_range range;
		struct kvm_vcpu *vcpu;
		struct mt_result r;
		struct kvm_vm *vm;
		int ret;

		vm = mt_vm_create(&vcpu, size);
		ret = mt_set_slot(vm, flag ? KVM_MEM_NONCACHEABLE : 0, MT_GPA, size, hva);
		if (ret) {
			snprintf(slot, sizeof(slot), "refused (%d)", ret);
		} else {
			r = mt_access(vcpu, MT_STR, MT_GPA + 1, 0x1234);
			access = mt_outcome(&r);
			if (!s2_dump_exists(vm)) {
				type = "(no dump)";
			} else if (s2_find(vm, MT_GPA, &range)) {
				type = *range.type ? range.type : "(not printed)";
				leaf = mt_size_name(range.leaf_size);
			} else {
				type = "not mapped";
			}
		}
		show_row(name, flag ? "yes" : "no", slot, type, leaf, access);
		kvm_vm_free(vm);
	}
}
