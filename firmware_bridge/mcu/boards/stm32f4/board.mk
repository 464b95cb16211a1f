# SPDX-License-Identifier: Apache-2.0
CPU := -mcpu=cortex-m4 -mthumb -mfloat-abi=soft
BOARD_SOURCES := $(MCU)/boards/stm32f4/board.c $(MCU)/boards/cortex_m/startup.c
