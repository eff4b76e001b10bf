/*
 * A convolution with sparse weights, channels first; sizes and strides as in conv.c.
 *
 * The inputs of an output are numbered [KH][KW][C]; a table says where each of them is from the first
 * one. Where rows have padding or every SW-th column is wanted, the image is copied to rows that have
 * both: [C][PT + H + PB][SW][L], column l of part s being input l SW + s - PL.
 *
 * Few pixels (a step of a stream) do not fill a vector: their inputs are gathered, and multiplied as
 * vectors.
 */
#ifndef ES_SPCONV_C
#define ES_SPCONV_C

#include "blocks.h"
#include "spmm.h"

#define ES_SPCONV_FEW 3 /* pixels of a row that are multiplied as vectors */

typedef struct {
  int C, H, W, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, OH, OW;
  ptrdiff_t x_cs, x_hs;
  int copied, L;    /* whether what is read is a copy; columns of each part */
  ptrdiff_t cs, hs; /* strides of what is read */
} es_spconv;

ES_CONV_SHARED void es_spconv_copy(const es_spconv *s, const float *x, float *to) {
  const int L = s->L, row = s->SW * L;
  for (ptrdiff_t c = 0; c < s->C; c++)
    for (int h = -s->PT; h < s->H + s->PB; h++, to += row) {
      const int inside = h >= 0 && h < s->H;
      const float *source = inside ? x + c * s->x_cs + h * s->x_hs : x;
      for (int part = 0; part < s->SW; part++) {
        const int at = part - s->PL, room = inside ? s->W - at : 0;
        const int from = es_least(L, at < 0 ? (s->SW - 1 - at) / s->SW : 0);
        const int end = es_most(from, es_least(L, room > 0 ? (room - 1) / s->SW + 1 : 0));
        es_conv_unpack_row(s->SW, L, from, end, source + at, to + part * L);
      }
    }
}

/* How far column `kw` of row `kh` is from the first input; in a copy, column k is in part k % SW. */
ES_FN ptrdiff_t es_spconv_tap(const es_spconv *s, int kh, int kw) {
  const int column = kw * s->DW,
            in_row = s->copied ? column % s->SW * s->L + column / s->SW : column;
  return kh * s->DH * s->hs + in_row;
}

/* Where all inputs of an output are. */
ES_CONV_SHARED void es_spconv_places(const es_spconv *s, int32_t *offset) {
  ES_LOOP for (int kh = 0; kh < s->KH; kh++) {
    ES_LOOP for (int kw = 0; kw < s->KW; kw++) {
      ptrdiff_t at = es_spconv_tap(s, kh, kw);
      ES_LOOP for (int c = 0; c < s->C; c++, at += s->cs) *offset++ = (int32_t)at;
    }
  }
}

/* The inputs of an output, as a vector. Not in vectors: instructions that gather are slow. */
ES_CONV_SHARED void es_spconv_gather(const es_spconv *s, const float *x, float *restrict to) {
  ES_LOOP for (int kh = 0; kh < s->KH; kh++) {
    ES_LOOP for (int kw = 0; kw < s->KW; kw++) {
      const float *from = x + es_spconv_tap(s, kh, kw);
      ES_LOOP for (int c = 0; c < s->C; c++, from += s->cs) *to++ = *from;
    }
  }
}

/* sums[p][o] = bias[o] + w x[p], P vectors of `taps` inputs; sums of whole panels, ld apart. */
ES_FN void es_spconv_16(const es_spmm *m, int taps, int P, const float *x, float *sums, int ld) {
  const int V = es_tile_vecs(1, 16);
  const uint16_t *index = m->index;
  const float *w = m->w;
  for (int o = 0; o < m->O; o += 16) {
    const int blocks = m->counts[o / 16];
    for (int j = 0; j < 16; j += V * ES_W) {
      const es_operands list = {x, taps, taps, index, w, 16, 16, j};
      es_project_rows(ES_F32, 16, 1, V, P, blocks, 16 - j, 0, &list, m->bias + o, sums + o + j, ld);
    }
    index += blocks;
    w += (ptrdiff_t)blocks * 16;
  }
}

/*
 * The same for blocks of R < 16, in four chains, or a sum would wait for the one before. A vector
 * wider than a block reads what is behind it, and its other lanes are nobody's.
 */
ES_FN void es_spconv_narrow(const int R, const es_spmm *m, int taps, int P, const float *x,
                            float *sums, int ld) {
  const int vecs = R < ES_W ? 1 : R / ES_W;
  ES_LOOP for (int p = 0; p < P; p++, x += taps, sums += ld) {
    const uint16_t *index = m->index;
    const float *w = m->w;
    ES_LOOP for (int o = 0, panel = 0; o < m->O; o += R, panel++) {
      const int blocks = m->counts[panel];
      es_v acc[4][4];
      ES_UNROLL for (int c = 0; c < 4; c++) {
        ES_UNROLL for (int v = 0; v < vecs; v++) acc[c][v] = es_set(0.0f);
      }
      int i = 0;
      ES_LOOP for (; i + 4 <= blocks; i += 4, index += 4, w += 4 * R) {
        ES_UNROLL for (int c = 0; c < 4; c++) {
          const es_v input = es_set(x[index[c]]);
          ES_UNROLL for (int v = 0; v < vecs; v++) {
            const float *own = w + c * R + v * ES_W;
            acc[c][v] = es_fma(R == 1 ? es_set(*own) : es_load(own), input, acc[c][v]);
          }
        }
      }
      ES_LOOP for (; i < blocks; i++, index++, w += R) {
        const es_v input = es_set(x[*index]);
        ES_UNROLL for (int v = 0; v < vecs; v++) {
          const float *own = w + v * ES_W;
          acc[0][v] = es_fma(R == 1 ? es_set(*own) : es_load(own), input, acc[0][v]);
        }
      }
      ES_UNROLL for (int v = 0; v < vecs; v++) {
        const es_v bias = es_load(m->bias + o + v * ES_W);
        const es_v two = es_add(es_add(acc[0][v], acc[1][v]), es_add(acc[2][v], acc[3][v]));
        es_store_upto(sums + o + v * ES_W, es_add(bias, two), es_least(R, ES_W));
      }
    }
  }
}

/* P pixels of a row. */
ES_FN void es_spconv_few(const int R, const es_spconv *s, const es_spmm *m, const float *x,
                         float *y, float *scratch) {
  const int taps = s->C * s->KH * s->KW, P = s->OW;
  const int ld = es_round_up(m->O, 16);
  float *sums = scratch + es_round_up(P * taps, 16);
  for (ptrdiff_t p = 0; p < P; p++)
    es_spconv_gather(s, x + p, scratch + p * taps);
  if (R == 16)
    es_spconv_16(m, taps, P, scratch, sums, ld);
  else
    es_spconv_narrow(R, m, taps, P, scratch, sums, ld);
  for (ptrdiff_t p = 0; p < P; p++, sums += ld)
    for (int o = 0; o < m->O; o += ES_W) {
      const es_v done = es_spmm_act(m->act, es_load(sums + o), es_load(m->slope + o));
      const int n = es_least(m->O - o, ES_W);
      if (m->y_cs == 1)
        es_store_upto(y + p + o, done, n);
      else {
        es_store(sums + o, done);
        for (int i = 0; i < n; i++)
          y[p + (o + i) * m->y_cs] = sums[o + i];
      }
    }
}

#define ES_SPCONV(name, R)                                                                         \
  ES_FN_RARE void es_spconv_rows_##R(es_spconv *s, es_spmm *m, int N, ptrdiff_t x_ns,              \
                                     ptrdiff_t y_ns, ptrdiff_t y_hs, const float *x, float *y,     \
                                     float *scratch) {                                             \
    const int taps = s->C * s->KH * s->KW, few = s->OW <= ES_SPCONV_FEW;                           \
    const int places = few ? s->OW * taps : taps, sums = few ? s->OW * es_round_up(m->O, 16) : 0;  \
    float *image = scratch + es_round_up(places, 16) + sums;                                       \
    s->copied = s->PT || s->PL || s->PB || s->PR || (s->SW > 1 && s->OW > 1);                      \
    s->L = s->OW + s->DW * (s->KW - 1) / s->SW;                                                    \
    s->hs = s->copied ? (ptrdiff_t)s->SW * s->L : s->x_hs;                                         \
    s->cs = s->copied ? (s->PT + s->H + s->PB) * s->hs : s->x_cs;                                  \
    if (!few) {                                                                                    \
      es_spconv_places(s, (int32_t *)scratch);                                                     \
      m->offset = (int32_t *)scratch;                                                              \
    }                                                                                              \
    for (ptrdiff_t n = 0; n < N; n++) {                                                            \
      const float *from = x + n * x_ns;                                                            \
      if (s->copied) {                                                                             \
        es_spconv_copy(s, from, image);                                                            \
        from = image;                                                                              \
      }                                                                                            \
      for (ptrdiff_t i = 0; i < s->OH; i++) {                                                      \
        const float *row = from + i * s->SH * s->hs;                                               \
        float *to = y + n * y_ns + i * y_hs;                                                       \
        if (few)                                                                                   \
          es_spconv_few(R, s, m, row, to, scratch);                                                \
        else                                                                                       \
          es_spmm_row(1, R, m, s->OW, row, to);                                                    \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  ES_FN void es_spconv_##name(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,   \
                              int DH, int DW, int PT, int PL, int PB, int PR, int act, int x_ns,   \
                              int x_cs, int x_hs, int y_ns, int y_cs, int y_hs, int blocks,        \
                              const float *x, const uint16_t *counts, const uint16_t *index,       \
                              const float *w, const float *b, float *y, float *scratch) {          \
    const int OH = (H + PT + PB - DH * (KH - 1) - 1) / SH + 1;                                     \
    const int OW = (W + PL + PR - DW * (KW - 1) - 1) / SW + 1;                                     \
    es_spconv s = {                                                                                \
        C, H, W, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, OH, OW, x_cs, x_hs, 0, 0, 0, 0};          \
    es_spmm m = {O, act, 0, y_cs, counts, index, w, b, b + O + ES_CONV_PAD, 0};                    \
    (void)blocks;                                                                                  \
    es_spconv_rows_##R(&s, &m, N, x_ns, y_ns, y_hs, x, y, scratch);                                \
  }

ES_SPCONV(f32, 1)
ES_SPCONV(f32_b4x1, 4)
ES_SPCONV(f32_b16x1, 16)

#undef ES_SPCONV

#endif
