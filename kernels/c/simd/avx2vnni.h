/* AVX2 with AVX-VNNI: four products of bytes in one instruction. All else as in avx2.h. */
#if !defined(__AVXVNNI__)
#error "compile with AVX-VNNI enabled"
#endif
#include "avx2.h"
