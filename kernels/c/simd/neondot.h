/* NEON with dot products of bytes (ARMv8.2): one instruction for sixteen of them. Else neon.h. */
#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile with dot products enabled"
#endif
#include "neon.h"
