/* AVX-512 with VNNI: four products of bytes in one instruction. All else as in avx512.h. */
#if !defined(__AVX512VNNI__)
#error "compile with AVX512-VNNI enabled"
#endif
#include "avx512.h"
