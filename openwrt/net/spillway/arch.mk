# SPDX-License-Identifier: Apache-2.0
#
# SPILLWAY_TARGET: which of `make cross`'s targets runs on a package architecture (ARCH_PACKAGES). The test of this folder
# compares it with cross/target.go. On ARM the FPU decides, as in OpenWrt's own Go recipe.
SPILLWAY_TARGET=$(strip \
	$(if $(filter mips_%,$(ARCH_PACKAGES)),mips, \
	$(if $(filter mipsel_%,$(ARCH_PACKAGES)),mipsle, \
	$(if $(filter aarch64_%,$(ARCH_PACKAGES)),arm64, \
	$(if $(filter x86_64,$(ARCH_PACKAGES)),amd64, \
	$(if $(filter arm_%,$(ARCH_PACKAGES)), \
		$(if $(findstring _neon,$(ARCH_PACKAGES))$(findstring _vfpv,$(ARCH_PACKAGES)),armv7, \
		$(if $(findstring _vfp,$(ARCH_PACKAGES)),armv6,armv5))))))))
