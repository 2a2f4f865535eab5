# SPDX-License-Identifier: GPL-2.0
#
# Included by the Makefiles whose tests are built with the libkvm and the flags of
# a kernel tree's own KVM selftests. That tree's Makefile names its files relative
# to its directory, hence a second make there, which reads our Makefile again, with
# TESTS_DIR set, and builds its goal "tests".

ifndef TESTS_DIR

CROSS_COMPILE ?= aarch64-linux-gnu-
HEADERS ?= $(KERNEL_TREE)/usr/include

all:
	@test -f "$(KERNEL_TREE)/tools/testing/selftests/kvm/Makefile.kvm" || \
		{ echo "KERNEL_TREE=$(KERNEL_TREE): no KVM selftests there" >&2; exit 1; }
	@test -f "$(HEADERS)/linux/kvm.h" || \
		{ echo "HEADERS=$(HEADERS): run make headers first" >&2; exit 1; }
	@test -n "$(OUT)" || { echo "OUT= is not set" >&2; exit 1; }
	@mkdir -p "$(OUT)/obj/tools"
	+$(MAKE) --no-print-directory -C "$(KERNEL_TREE)/tools/testing/selftests/kvm" \
		-f "$(CURDIR)/Makefile" TESTS_DIR="$(CURDIR)" \
		ARCH=arm64 CROSS_COMPILE="$(CROSS_COMPILE)" \
		OUTPUT="$(abspath $(OUT))/obj" abs_objdir="$(abspath $(OUT))/obj" \
		LINUX_HDR_PATH="$(abspath $(HEADERS))" \
		KHDR_INCLUDES="-isystem $(abspath $(HEADERS))" \
		USERLDFLAGS="-static $(USERLDFLAGS)" tests

clean:
	$(RM) -r "$(OUT)"

.PHONY: all clean

else

include Makefile

TESTS_OUT := $(patsubst %/obj,%,$(OUTPUT))

.SECONDARY:
.PHONY: tests

endif
