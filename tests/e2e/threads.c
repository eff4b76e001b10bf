/*
 * Streams in threads of their own that share one pool: the same numbers as alone. `frames` of x on
 * stdin, those of y on stdout. Compiled with -fsanitize=thread.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared.h"

enum { FRAMES = 40, STREAMS = 3 };

static float x[FRAMES][INPUTS], y[STREAMS][FRAMES][OUTPUTS];
static struct shared_pool *pool;

static void must(int code, const char *what) {
  if (code) {
    fprintf(stderr, "%s: %s\n", what, shared_strerror(code));
    exit(1);
  }
}

static void *stream(void *given) {
  const int index = *(const int *)given;
  const size_t size = shared_state_size();
  void *state = aligned_alloc(64, size), *saved = malloc(size);
  void *arena = aligned_alloc(64, (shared_arena_size(1) + 63) / 64 * 64);
  must(shared_init(state), "init");
  must(shared_parallel(state, shared_pool_run, pool), "parallel");
  for (int t = 0; t < FRAMES; t++) {
    must(shared_step(state, arena, x[t], y[index][t]), "step");
    if (t == 20) { /* a saved state has no pointers in it, and loading keeps this stream's */
      must(shared_save(state, saved), "save");
      for (int i = 24; i < 64; i++)
        if (((char *)saved)[i])
          must(1, "saved header");
      must(shared_load(state, saved), "load");
    }
    if (t % 20 == 10 && index == 0)
      usleep(20000); /* the threads fall asleep */
  }
  free(state), free(saved), free(arena);
  return NULL;
}

int main(int count, char **arguments) {
  pthread_t threads[STREAMS];
  int indices[STREAMS];
  if (fread(x, sizeof x, 1, stdin) != 1 ||
      !(pool = shared_pool_new(count > 1 ? atoi(arguments[1]) : 1)))
    return 2;
  for (int i = 0; i < STREAMS; i++) {
    indices[i] = i;
    pthread_create(&threads[i], NULL, stream, &indices[i]);
  }
  for (int i = 0; i < STREAMS; i++)
    pthread_join(threads[i], NULL);
  shared_pool_free(pool);
  for (int i = 1; i < STREAMS; i++)
    if (memcmp(y[0], y[i], sizeof y[0]))
      return 3;
  fwrite(y[0], sizeof y[0], 1, stdout);
  return 0;
}
