# SPDX-License-Identifier: Apache-2.0
CPU := -mcpu=cortex-m4 -mthumb -mfloat-abi=soft
BOARD_SOURCES := $(MCU)/boards/qemu_mps2/board.c $(MCU)/boards/qemu_mps2/plant.c \
  $(MCU)/boards/cortex_m/startup.c
