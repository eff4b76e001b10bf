/* tiny: compiled by edgeseq 0.1.0
 * model c7e3064cc5e47822
 * passes: eliminate-common
 *
 * State and arena are yours: aligned to 64 bytes, one state per stream, one arena per thread.
 * No globals, no allocation, no library calls.
 */
#ifndef TINY_H
#define TINY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define TINY_API
#else
#define TINY_API __attribute__((visibility("default")))
#endif

#define TINY_ABI 1
#define TINY_STATE_SIZE 256
#define TINY_STEP_ARENA_SIZE 192
#define TINY_MAX_T 1048576

enum tiny_error {
    TINY_OK = 0,
    TINY_ERROR_NULL = 1,      /* a pointer is NULL */
    TINY_ERROR_ALIGNMENT = 2, /* state or arena is not aligned to 64 bytes */
    TINY_ERROR_STATE = 3,     /* state was not initialised by tiny_init */
    TINY_ERROR_LENGTH = 4,    /* T is outside 1..TINY_MAX_T */
    TINY_ERROR_CPU = 5,       /* this CPU lacks instructions the library was built for */
    TINY_ERROR_MODEL = 6,     /* state, live or saved, of another model */
    TINY_ERROR_ABI = 7        /* saved state of another edgeseq ABI */
};

/* Bytes of one stream's state, header included. */
TINY_API size_t tiny_state_size(void);
/* Bytes of scratch for run() with up to T steps; T = 1 serves step(). */
TINY_API size_t tiny_arena_size(int64_t T);
/* Checks the CPU, writes the header, resets. */
TINY_API int tiny_init(void *state);
/* Back to the initial state. */
TINY_API int tiny_reset(void *state);

/* One time step.
 *   x: float[1, 3]
 *   y: float[1, 6]
 *   seen: int64_t[1]
 */
TINY_API int tiny_step(void *state, void *arena, const float *x, float *y, int64_t *seen);

/* T time steps: arrays of T frames, one after the other.
 *   x: float[T, 1, 3]
 *   y: float[T, 1, 6]
 *   seen: int64_t[T, 1]
 */
TINY_API int tiny_run(void *state, void *arena, int64_t T, const float *x, float *y, int64_t *seen);
/* A snapshot: tiny_state_size() bytes, valid on every CPU of the same byte order. */
TINY_API int tiny_save(const void *state, void *bytes);
TINY_API int tiny_load(void *state, const void *bytes);
TINY_API const char *tiny_version(void);
TINY_API const char *tiny_strerror(int error);

#ifdef __cplusplus
}
#endif
#endif
