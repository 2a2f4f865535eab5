# SPDX-License-Identifier: GPL-2.0
#
# Everything is done by the scripts in selftests/rig; this file names them.
# `make` alone says what there is and does nothing.

BASE ?= v7.3
V ?= 0
RIG := selftests/rig
KDIR ?= /lib/modules/$(shell uname -r)/build
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kvm-arm64-memtype

export BASE SERIES V KERNEL UPDATE TREE DEBUG DEBIAN_MIRROR ONLY CONFIG AGAIN OPS ROUNDS SEED

MAKEFLAGS += --no-print-directory

help:
	@echo 'make run      build the patched kernel, boot it, show which memory has which type'
	@echo 'make demo     the same for guests of QEMU, unmodified and patched, with a picture of each'
	@echo 'make check    the tests, but for what is named below; last line: passed, failed, skipped'
	@echo 'make bench    exact cost of stage-2 faults and of memslots, unpatched and patched'
	@echo 'make mutants  break the patched kernel on purpose: the tests must see it'
	@echo 'make stress   OPS=200000 random operations against a model, memory that goes ROUNDS=10000'
	@echo '              times, 1000 VMs and loads; each allocation fails once'
	@echo 'make gates    the part of check that boots nothing'
	@echo 'make bisect   compile what each commit of the series touches, alone'
	@echo 'make apply    put the series onto a branch of your own kernel tree: TREE=/path'
	@echo 'make tree     git tree of the base kernel with the series as stacked branches'
	@echo 'make export   write that tree (or TREE=/path) back to patches/$$BASE'
	@echo 'make qemu     cross-build QEMU with its series (VGA in the carve-out) for arm64'
	@echo 'make qemu-tree  qemu-export  the same as tree and export for that series'
	@echo 'make qemu-test  each commit of it builds, and QEMU'"'"'s own tests pass as without it'
	@echo 'make debug    check on a kernel with KASAN, lockdep and kmemleak, or DEBUG=kcsan: hours'
	@echo 'make pages    check on kernels with pages of 16 and 64 KiB, and with 52 bits of address'
	@echo 'make module   the carve-out module, for the kernel whose build is in KDIR'
	@echo 'make board    one tarball with all tests and the module, for a machine that is not this one'
	@echo 'make board-test  Debian 13 with its own kernel, init, apt and dkms on an emulated board: from'
	@echo '              scp of that tarball to the report'
	@echo 'make overlay  a device-tree overlay with a pool for a board: BASE_DTB=, POOL=vm0,'
	@echo '              POOL_BASE=0xc0000000, POOL_SIZE=256M; POOL_SHARED=shared'
	@echo 'make headers_install  the flag, the capability and the vfio feature, for who builds'
	@echo '              a VMM before the kernel headers have them: DESTDIR=, PREFIX=/usr/local'
	@echo 'make deb      a Debian package of it that builds itself by DKMS'
	@echo 'make kernel-deb  the patched kernel as Debian packages for a board, from the configuration'
	@echo '              that it runs: CONFIG=/boot/config-...; DEBUG=1 with debug information, which'
	@echo '              takes hours and gigabytes where the configuration is a distribution'"'"'s'
	@echo 'make deb-test  apt, dkms and udev of Debian 12 and 13 with it, in chroots for arm64'
	@echo 'make clean    remove builds and logs; downloads and trees stay'
	@echo
	@echo 'BASE=$(BASE)     base kernel, a line of patches/bases'
	@echo 'SERIES=$(lastword $(notdir $(sort $(wildcard patches/$(BASE)/*))))  the last series that is applied, built and tested'
	@echo 'ONLY=         check: tests, gates or parts by name, with commas; a wrong one lists them;'
	@echo '              stress: programs; mutants: files of selftests/mutants'
	@echo 'CONFIG=       check and stress: configurations, lines of selftests/rig/configs'
	@echo 'SEED=         stress: that of a run to repeat'
	@echo 'DEBUG=        stress: 1 or kcsan, the kernels of make debug'
	@echo 'AGAIN=1       check: again what has passed and has not changed'
	@echo 'KERNEL=/path  any kernel tree instead of the distribution package'
	@echo 'UPDATE=1      look for a newer point release of the base'
	@echo 'KDIR=$(KDIR)'
	@echo 'DEBIAN_MIRROR=http://.../debian  instead of the one that apt has'
	@echo 'V=1           show commands and their output'
	@echo
	@echo 'Everything that is made is in $(CACHE)'

run demo check bench mutants stress apply tree export:
	@$(RIG)/$@.sh

qemu:
	@$(RIG)/qemu.sh

qemu-test:
	@$(RIG)/qemu-test.sh

qemu-tree qemu-export:
	@$(RIG)/qemu.sh $(@:qemu-%=%)

gates:
	@$(RIG)/tools.sh package && $(RIG)/gates.sh

bisect:
	@$(RIG)/tools.sh && $(RIG)/gates.sh bisect

debug:
	@DEBUG=$(or $(DEBUG),1) $(RIG)/check.sh

pages:
	@$(RIG)/check.sh pages

module:
	@rm -rf $(CACHE)/module && mkdir -p $(CACHE)/module
	@cp -R -p drivers arch-arm64 $(CACHE)/module
	@$(MAKE) -C $(KDIR) M=$(CACHE)/module/drivers modules
	@echo $(CACHE)/module/drivers/carveout_heap.ko

deb:
	@$(RIG)/tools.sh package && drivers/deb.sh $(CACHE)/deb

board:
	@$(RIG)/board.sh make

deb-test:
	@$(RIG)/package.sh

board-test:
	@$(RIG)/board-debian.sh

kernel-deb:
	@$(RIG)/kernel-deb.sh

overlay:
	@mkdir -p $(CACHE)
	@drivers/overlay.sh '$(BASE_DTB)' '$(CACHE)/carveout-heap.dtbo' '$(or $(POOL),vm0)' \
		'$(or $(POOL_BASE),0xc0000000)' '$(or $(POOL_SIZE),256M)' '$(POOL_SHARED)'
	@echo $(CACHE)/carveout-heap.dtbo

headers_install:
	@install -D -m 644 -t $(DESTDIR)$(or $(PREFIX),/usr/local)/include/linux include/uapi/linux/*.h

clean:
	rm -rf $(CACHE)/*/src/build* $(CACHE)/*/patched/build* $(CACHE)/*/apply/build* $(CACHE)/*/kernel-deb/build* \
		$(CACHE)/*/mutants/build $(CACHE)/qemu/build $(CACHE)/emulator $(CACHE)/*/tests $(CACHE)/*/prefix $(CACHE)/*/logs* $(CACHE)/*/stamps $(CACHE)/*/results.tsv*

.PHONY: help run demo check bench mutants apply headers_install tree export stress qemu qemu-test qemu-tree qemu-export gates bisect debug pages module deb deb-test kernel-deb board board-test overlay clean
