/*
 * A pointwise convolution with sparse weights, channels first:
 *
 *   y[n, o, p] = act(b[o] + sum over the stored c of w[o, c] * x[n, c, p])
 *
 * for P adjacent pixels (or steps). Weights are blocks of R outputs x 1 input, kernels/spmm.py pack():
 * of each panel of R outputs, `counts` blocks, their inputs in `index`, R weights each in `w`. So a
 * vector of pixels is loaded once for R outputs; R = 1 is unstructured. b is the bias and the slope
 * below zero, as in conv.c.
 *
 * A tile is a few vectors of pixels, for all outputs: the inputs it reads stay in cache, the weights
 * run by in stream order. The last vector of a row overlaps the one before. One pixel (a step of a
 * stream) of blocks of 16 is a matrix-vector product over the same weights.
 */
#ifndef ES_SPMM_C
#define ES_SPMM_C

#include "conv_tiles.h"

#define ES_SPMM_FEW 3 /* pixels for which vectors lie along the outputs */

typedef struct {
  int O, act;
  ptrdiff_t x_cs, y_cs;
  const uint16_t *counts, *index;
  const float *w, *bias, *slope;
} es_spmm;

ES_FN es_v es_spmm_act(int act, es_v v, es_v slope) {
  switch (act) {
  case ES_ACT_SLOPE:
    return es_conv_sloped(v, slope);
  case ES_ACT_TANH:
    return es_tanh(v);
  case ES_ACT_SIGMOID:
    return es_sigmoid(v);
  default:
    return v;
  }
}

/*
 * `rows` outputs from o on x `vecs` vectors of pixels, the last of which starts at pixel `last`.
 * part > 0: one vector of so many pixels.
 */
ES_FN void es_spmm_tile(const int R, const int rows, const int vecs, int last, int part,
                        const es_spmm *m, int o, int blocks, const uint16_t *index, const float *w,
                        const float *x, float *y) {
  es_v acc[8][8];
  ES_UNROLL for (int r = 0; r < rows; r++) {
    const es_v bias = es_set(m->bias[o + r]);
    ES_UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = bias;
  }
  ES_LOOP for (int i = 0; i < blocks; i++, w += R) {
    const float *from = x + index[i] * m->x_cs;
    es_v pixels[8];
    ES_UNROLL for (int v = 0; v < vecs; v++) {
      const float *at = from + (v + 1 < vecs ? v * ES_W : last);
      pixels[v] = part ? es_load_n(at, part) : es_load(at);
    }
    ES_UNROLL for (int r = 0; r < rows; r++) {
      const es_v k = es_set(w[r]);
      ES_UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = es_fma(k, pixels[v], acc[r][v]);
    }
  }
  ES_UNROLL for (int r = 0; r < rows; r++) {
    if (o + r >= m->O) /* a panel's outputs beyond the last one */
      return;
    float *to = y + (o + r) * m->y_cs;
    const es_v slope = es_set(m->slope[o + r]);
    ES_UNROLL for (int v = 0; v < vecs; v++) {
      const es_v done = es_spmm_act(m->act, acc[r][v], slope);
      if (part)
        es_store_n(to, done, part);
      else
        es_store(to + (v + 1 < vecs ? v * ES_W : last), done);
    }
  }
}

/* All outputs of a tile of pixels. */
ES_FN void es_spmm_outputs(const int R, const int rows, const int vecs, int last, int part,
                           const es_spmm *m, const float *x, float *y) {
  const uint16_t *index = m->index;
  const float *w = m->w;
  for (int o = 0, panel = 0; o < m->O; o += R, panel++) {
    const int blocks = m->counts[panel];
    for (int r = 0; r < R && o + r < m->O; r += rows) {
      es_spmm_tile(R, rows, vecs, last, part, m, o + r, blocks, index, w + r, x, y);
    }
    index += blocks;
    w += (ptrdiff_t)blocks * R;
  }
}

/* All pixels of one image, in tiles of `wide` vectors and then fewer. */
ES_FN void es_spmm_image(const int R, const int rows, const int wide, const es_spmm *m, int P,
                         const float *x, float *y) {
  if (P < ES_W) {
    if (P > 0)
      es_spmm_outputs(R, rows, 1, 0, P, m, x, y);
    return;
  }
  for (int p = 0, left; p < P; x += left, y += left, p += left) {
    const int vecs = (P - p + ES_W - 1) / ES_W, end = P - p - ES_W;
    left = es_least(vecs, vecs < wide ? 4 : wide) * ES_W;
    const int last = es_least(left - ES_W, end);
    if (vecs >= wide)
      es_spmm_outputs(R, rows, wide, last, 0, m, x, y);
    else if (wide > 4 && vecs >= 4)
      es_spmm_outputs(R, rows, 4, last, 0, m, x, y);
    else if (wide > 3 && vecs == 3)
      es_spmm_outputs(R, rows, 3, last, 0, m, x, y);
    else if (wide > 2 && vecs == 2)
      es_spmm_outputs(R, rows, 2, last, 0, m, x, y);
    else
      es_spmm_outputs(R, rows, 1, last, 0, m, x, y);
  }
}

/* One pixel: vectors along the 16 outputs of a panel. */
ES_FN void es_spmm_pixel(const es_spmm *m, const float *x, float *y) {
  enum { VECS = 16 / ES_W };
  const uint16_t *index = m->index;
  const float *w = m->w;
  for (int o = 0; o < m->O; o += 16) {
    const int blocks = m->counts[o / 16];
    float out[16];
    es_v acc[VECS];
    ES_UNROLL for (int v = 0; v < VECS; v++) acc[v] = es_load(m->bias + o + v * ES_W);
    ES_LOOP for (int i = 0; i < blocks; i++, w += 16) {
      const es_v input = es_set(x[*index++ * m->x_cs]);
      ES_UNROLL for (int v = 0; v < VECS; v++) {
        acc[v] = es_fma(es_load(w + v * ES_W), input, acc[v]);
      }
    }
    ES_UNROLL for (int v = 0; v < VECS; v++) {
      const es_v slope = es_load(m->slope + o + v * ES_W);
      es_store(out + v * ES_W, es_spmm_act(m->act, acc[v], slope));
    }
    for (int r = 0; r < 16 && o + r < m->O; r++)
      y[(o + r) * m->y_cs] = out[r];
  }
}

/* Noinline: the sizes of a layer do not change its code, so all layers share it. */
ES_FN_RARE void es_spmm_1(const es_spmm *m, int P, const float *x, float *y) {
  es_spmm_image(1, 1, 4, m, P, x, y);
}

ES_FN_RARE void es_spmm_4(const es_spmm *m, int P, const float *x, float *y) {
  es_spmm_image(4, 4, ES_REGS == 32 ? 4 : 2, m, P, x, y);
}

ES_FN_RARE void es_spmm_16(const es_spmm *m, int P, const float *x, float *y) {
  if (P <= ES_SPMM_FEW)
    for (int p = 0; p < P; p++)
      es_spmm_pixel(m, x + p, y + p);
  else
    es_spmm_image(16, ES_REGS == 32 ? 8 : 4, 2, m, P, x, y);
}

#define ES_SPMM(name, R)                                                                           \
  ES_FN void es_spmm_##name(int N, int O, int C, int P, int act, int x_ns, int x_cs, int y_ns,     \
                            int y_cs, int blocks, const float *x, const uint16_t *counts,          \
                            const uint16_t *index, const float *w, const float *b, float *y) {     \
    const es_spmm m = {O, act, x_cs, y_cs, counts, index, w, b, b + O + ES_CONV_PAD};              \
    (void)C;                                                                                       \
    (void)blocks;                                                                                  \
    for (ptrdiff_t n = 0; n < N; n++)                                                              \
      es_spmm_##R(&m, P, x + n * x_ns, y + n * y_ns);                                              \
  }

ES_SPMM(f32, 1)
ES_SPMM(f32_b4x1, 4)
ES_SPMM(f32_b16x1, 16)

#undef ES_SPMM

#endif
