// SPDX-License-Identifier: GPL-2.0
/* What the host can do; see host.h */
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <linux/kvm_memtype.h>
#include <asm/hwcap.h>

#include "harness.h"
#include "host.h"

bool mt_host_has_lse(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ATOMICS;
}

bool mt_host_is_pkvm(void)
{
	char cmdline[4096] = "";
	int fd = open("/proc/cmdline", O_RDONLY);

	if (fd < 0)
		return false;
	if (read(fd, cmdline, sizeof(cmdline) - 1) < 0)
		cmdline[0] = '\0';
	close(fd);
	return strstr(cmdline, "kvm-arm.mode=protected");
}

bool mt_has_cacheable_pfnmap(struct kvm_vm *vm)
{
	return vm_check_cap(vm, KVM_CAP_ARM_CACHEABLE_PFNMAP_SUPPORTED);
}

void mt_require_noncacheable(void)
{
	if (!kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		mt_skip("KVM_CAP_MEM_NONCACHEABLE is not supported");
}

void mt_require_pfnmap(void)
{
	if (mt_host_is_pkvm())
		mt_skip("KVM maps no PFNMAP memory in protected mode");
}
