// SPDX-License-Identifier: Apache-2.0
// Between BEGIN and END functions are compiled for AVX2. Everything there has internal linkage, and
// no header is included there: a shared inline function compiled for AVX2 could be the copy that
// the linker keeps for everybody, and crash an older CPU.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#define EDGEGUARD_AVX2_BEGIN                                                                       \
  _Pragma("clang attribute push(__attribute__((target(\"avx2\"))), apply_to = function)")
#define EDGEGUARD_AVX2_END _Pragma("clang attribute pop")
#else
#define EDGEGUARD_AVX2_BEGIN _Pragma("GCC push_options") _Pragma("GCC target(\"avx2\")")
#define EDGEGUARD_AVX2_END _Pragma("GCC pop_options")
#endif
#endif
