/* Denoises sound with the compiled library, one frame of 256 samples after the other.
 *
 *   denoise_wav IN.wav OUT.wav    16 kHz, one channel, 16 bits; the output is in step with the input
 *   denoise_wav --live            the same samples without a header, from stdin to stdout
 */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "denoise.h"

enum { HOP = 256, RATE = 16000 };

/* State and arena are plain memory; their sizes are in the header. */
static _Alignas(64) uint8_t state[DENOISE_STATE_SIZE];
static _Alignas(64) uint8_t arena[DENOISE_STEP_ARENA_SIZE];

static void fail(const char *form, ...) {
  va_list list;
  va_start(list, form);
  fputs("denoise_wav: ", stderr);
  vfprintf(stderr, form, list);
  fputc('\n', stderr);
  va_end(list);
  exit(1);
}

static uint32_t little(const uint8_t *p, int bytes) {
  uint32_t value = 0;
  for (int i = bytes; i-- > 0;)
    value = value << 8 | p[i];
  return value;
}

static void put(uint8_t *p, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; i++)
    p[i] = (uint8_t)(value >> 8 * i);
}

/* Leaves the file at its first sample; returns how many there are. */
static uint32_t open_wav(FILE *file, const char *name) {
  uint8_t head[12], chunk[8], format[16];
  int known = 0;
  if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
    fail("'%s' is not a wav file", name);
  while (fread(chunk, 1, 8, file) == 8) {
    const uint32_t size = little(chunk + 4, 4);
    if (!memcmp(chunk, "data", 4)) {
      if (!known)
        fail("'%s' does not say what its samples are", name);
      return size / 2;
    }
    if (!memcmp(chunk, "fmt ", 4) && size >= 16) {
      if (fread(format, 1, 16, file) != 16)
        break;
      if (little(format + 2, 2) != 1 || little(format + 4, 4) != RATE ||
          little(format + 14, 2) != 16)
        fail("'%s': want 1 channel, 16000 Hz, 16 bits; it has %u, %u, %u\n"
             "  fix: ffmpeg -i '%s' -ar 16000 -ac 1 -c:a pcm_s16le out.wav",
             name, little(format + 2, 2), little(format + 4, 4), little(format + 14, 2), name);
      known = 1;
      fseek(file, (long)(size - 16 + size % 2), SEEK_CUR);
    } else {
      fseek(file, (long)(size + size % 2), SEEK_CUR);
    }
  }
  fail("'%s' holds no samples", name);
  return 0;
}

static void write_head(FILE *file, uint32_t samples) {
  uint8_t head[44] = "RIFF....WAVEfmt ";
  put(head + 4, 36 + 2 * samples, 4);
  put(head + 16, 16, 4);
  put(head + 20, 1, 2); /* PCM */
  put(head + 22, 1, 2);
  put(head + 24, RATE, 4);
  put(head + 28, 2 * RATE, 4);
  put(head + 32, 2, 2);
  put(head + 34, 16, 2);
  memcpy(head + 36, "data", 4);
  put(head + 40, 2 * samples, 4);
  fwrite(head, 1, sizeof head, file);
}

/* Reads up to a frame, the rest is silence; returns the samples that were there. */
static size_t read_frame(FILE *file, size_t most, float *x) {
  uint8_t bytes[2 * HOP];
  const size_t count = fread(bytes, 2, most < HOP ? most : HOP, file);
  for (size_t i = 0; i < HOP; i++)
    x[i] = i < count ? (float)(int16_t)little(bytes + 2 * i, 2) / 32768 : 0;
  return count;
}

static void write_frame(FILE *file, const float *y, size_t count) {
  uint8_t bytes[2 * HOP];
  for (size_t i = 0; i < count; i++) {
    const float value = fminf(fmaxf(y[i] * 32768, -32768), 32767);
    put(bytes + 2 * i, (uint16_t)lrintf(value), 2);
  }
  if (fwrite(bytes, 2, count, file) != count)
    fail("cannot write: is the disk full?");
}

static void step(const float *x, float *y) {
  const int error = denoise_step(state, arena, x, y);
  if (error)
    fail("%s", denoise_strerror(error));
}

static void live(void) {
  float x[HOP], y[HOP];
  while (read_frame(stdin, HOP, x) == HOP) {
    step(x, y);
    write_frame(stdout, y, HOP);
    fflush(stdout);
  }
}

static FILE *opened(const char *name, const char *mode) {
  FILE *const file = fopen(name, mode);
  if (!file)
    fail("cannot open '%s'", name);
  return file;
}

static double seconds(void) {
  struct timespec now;
  timespec_get(&now, TIME_UTC);
  return (double)now.tv_sec + now.tv_nsec * 1e-9;
}

static void convert(const char *from, const char *to) {
  FILE *const in = opened(from, "rb");
  const uint32_t samples = open_wav(in, from);
  FILE *const out = opened(to, "wb");
  const double began = seconds();
  float x[HOP], y[HOP];
  uint32_t left = samples, done = 0;
  write_head(out, samples);
  /* What comes out is a frame late: the first is dropped, one of silence fetches the last. */
  for (int first = 1; done < samples; first = 0) {
    left -= (uint32_t)read_frame(in, left, x);
    step(x, y);
    if (first)
      continue;
    const uint32_t count = samples - done < HOP ? samples - done : HOP;
    write_frame(out, y, count);
    done += count;
  }
  if (left)
    fail("'%s' is cut off", from);
  if (fclose(out))
    fail("cannot write '%s'", to);
  fclose(in);
  const double took = seconds() - began, length = (double)samples / RATE;
  printf("%s: %.1f s of sound in %.3f s (%.0fx)\n", to, length, took, length / took);
}

int main(int count, char **words) {
  const int error = denoise_init(state);
  if (error)
    fail("%s", denoise_strerror(error));
  if (count == 2 && !strcmp(words[1], "--live"))
    live();
  else if (count == 3)
    convert(words[1], words[2]);
  else
    fail("denoise_wav IN.wav OUT.wav, or denoise_wav --live");
  return 0;
}
