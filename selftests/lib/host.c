// SPDX-License-Identifier: GPL-2.0
/* What the host can do; see host.h */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/kvm_memtype.h>
#include <asm/hwcap.h>

#include "harness.h"
#include "host.h"
#include "vfio_dev.h"

bool mt_in_rig(void)
{
	return getenv("MT_RIG");
}

void mt_rig_only(const char *fmt, ...)
{
	char why[192];
	va_list args;

	if (mt_in_rig())
		return;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	mt_skip("only in the rig: %s", why);
}

/* In the debugfs directory of a VM, which only KVM's own descriptors are needed for */
static bool vm_file_exists(const char *name)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;
	char path[96];
	bool exists;

	if (kvm < 0)
		mt_skip("no /dev/kvm: %s", strerror(errno));
	/* 0 is 40 bits of address, which not every machine has */
	vm = ioctl(kvm, KVM_CREATE_VM,
		   KVM_VM_TYPE_ARM_IPA_SIZE(ioctl(kvm, KVM_CHECK_EXTENSION,
						  KVM_CAP_ARM_VM_IPA_SIZE)));
	if (vm < 0)
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0) {
		close(kvm);
		return false;
	}
	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s", getpid(), vm, name);
	exists = !access(path, F_OK);
	close(vm);
	close(kvm);
	return exists;
}

static bool has_tracepoint(const char *name)
{
	/* To look into debugfs for it mounts it there, for good */
	bool mounted = !access("/sys/kernel/tracing/events", F_OK);
	char path[128];

	snprintf(path, sizeof(path), "%s/events/kvm/%s",
		 mounted ? "/sys/kernel/tracing" : "/sys/kernel/debug/tracing", name);
	return !access(path, F_OK);
}

const char *mt_no_series(enum mt_series series)
{
	bool has_flag = kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE);

	/* The flag's series is on top of that of the tracepoint, and tracefs may be away */
	if (!has_flag && !has_tracepoint("kvm_s2_memtype"))
		return "the kernel is without the series 1-pfnmap";
	if (series == MT_NONCACHEABLE && !has_flag)
		return "the kernel is without the series 2-noncacheable";
	if (series == MT_VFIO && access(POLICY, F_OK))
		return "vfio-pci is not loaded, or the kernel is without the series 3-vfio";
	if (series == MT_AUDIT && !vm_file_exists("memtype_audit"))
		return "debugfs has no memtype_audit: the kernel is without 4-audit or its option";
	return NULL;
}

void mt_require_series(enum mt_series series)
{
	const char *why;
	bool dumps;

	if (mt_in_rig())
		return;
	dumps = vm_file_exists("stage2_page_tables");
	if (mt_host_is_pkvm())
		mt_skip("in protected mode KVM maps no PFNMAP memory but RAM and has no flag");
	why = mt_no_series(series);
	if (why)
		mt_skip("%s", why);
	if (!dumps)
		mt_skip("debugfs has no stage2_page_tables: CONFIG_PTDUMP_STAGE2_DEBUGFS");
}

bool mt_write_file(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, val, strlen(val)) == strlen(val);
	close(fd);
	return ok;
}

bool mt_trace_begin(const char *instance)
{
	if (access("/sys/kernel/tracing/instances", F_OK))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	return !mkdir(instance, 0700) || errno == EEXIST;
}

void mt_trace_end(const char *instance)
{
	rmdir(instance);
}

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
		mt_skip("KVM maps no PFNMAP memory but RAM in protected mode");
}
