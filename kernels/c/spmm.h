/*
 * Sparse weights times pixels: what spmm.c and spconv.c share.
 *
 *   y[o, p] = act(b[o] + sum over the stored i of w[o, i] * x[at(i) + p])
 *
 * for P adjacent pixels (or steps). Weights are blocks of R outputs x 1 input, kernels/spmm.py pack():
 * of each panel of R outputs, `counts` blocks, their inputs in `index`, R weights each in `w`. So a
 * vector of pixels is loaded once for R outputs; R = 1 is unstructured. b is the bias and the slope
 * below zero, as in conv.c.
 *
 * A tile is a few vectors of pixels, for all outputs: the inputs it reads stay in cache, the weights
 * run by in stream order. The last vector of a row overlaps the one before. Lists of blocks of 16 are
 * padded with zeros to a multiple of four, so that a product with one pixel (spconv.c) is as in
 * blocks.h.
 */
#ifndef ES_SPMM_H
#define ES_SPMM_H

#include "conv_tiles.h"

/* Input i is at i * x_cs, or, where a convolution has more taps than one, at offset[i]. */
typedef struct {
  int O, act;
  ptrdiff_t x_cs, y_cs;
  const uint16_t *counts, *index;
  const float *w, *bias, *slope;
  const int32_t *offset;
} es_spmm;

ES_FN ptrdiff_t es_spmm_at(const int taps, const es_spmm *m, int i) {
  return taps ? m->offset[i] : i * m->x_cs;
}

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

/* One block for `rows` outputs x `vecs` vectors of pixels. */
ES_FN void es_spmm_block(const int rows, const int vecs, int last, int part, const float *from,
                         const float *w, es_v acc[][8]) {
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

/*
 * `rows` outputs from o on x `vecs` vectors of pixels, the last of which starts at pixel `last`.
 * part > 0: one vector of so many pixels. One output of few pixels is summed up in several chains,
 * or each sum would wait for the one before.
 */
ES_FN void es_spmm_tile(const int taps, const int R, const int rows, const int vecs, int last,
                        int part, const es_spmm *m, int o, int blocks, const uint16_t *index,
                        const float *w, const float *x, float *y) {
  const int chains = rows > 1 || vecs > 3 ? 1 : 4 / vecs;
  es_v acc[8][8];
  ES_UNROLL for (int r = 0; r < rows; r++) {
    const es_v bias = es_set(m->bias[o + r]);
    ES_UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = bias;
  }
  int i = 0;
  if (chains > 1) {
    ES_UNROLL for (int c = 1; c < chains; c++) {
      ES_UNROLL for (int v = 0; v < vecs; v++) acc[c][v] = es_set(0.0f);
    }
    ES_LOOP for (; i + chains <= blocks; i += chains, w += chains * R) {
      ES_UNROLL for (int c = 0; c < chains; c++) {
        const float *from = x + es_spmm_at(taps, m, index[i + c]);
        es_spmm_block(1, vecs, last, part, from, w + c * R, acc + c);
      }
    }
  }
  ES_LOOP for (; i < blocks; i++, w += R)
      es_spmm_block(rows, vecs, last, part, x + es_spmm_at(taps, m, index[i]), w, acc);
  ES_UNROLL for (int c = 1; c < chains; c++) {
    ES_UNROLL for (int v = 0; v < vecs; v++) acc[0][v] = es_add(acc[0][v], acc[c][v]);
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
ES_FN void es_spmm_outputs(const int taps, const int R, const int rows, const int vecs, int last,
                           int part, const es_spmm *m, const float *x, float *y) {
  const uint16_t *index = m->index;
  const float *w = m->w;
  for (int o = 0, panel = 0; o < m->O; o += R, panel++) {
    const int blocks = m->counts[panel];
    for (int r = 0; r < R && o + r < m->O; r += rows) {
      es_spmm_tile(taps, R, rows, vecs, last, part, m, o + r, blocks, index, w + r, x, y);
    }
    index += blocks;
    w += (ptrdiff_t)blocks * R;
  }
}

/* All pixels of one image, in tiles of `wide` vectors and then fewer. */
ES_FN void es_spmm_image(const int taps, const int R, const int rows, const int wide,
                         const es_spmm *m, int P, const float *x, float *y) {
  if (P < ES_W) {
    if (P > 0)
      es_spmm_outputs(taps, R, rows, 1, 0, P, m, x, y);
    return;
  }
  for (int p = 0, left; p < P; x += left, y += left, p += left) {
    const int vecs = (P - p + ES_W - 1) / ES_W, end = P - p - ES_W;
    left = es_least(vecs, vecs < wide ? 4 : wide) * ES_W;
    const int last = es_least(left - ES_W, end);
    if (vecs >= wide)
      es_spmm_outputs(taps, R, rows, wide, last, 0, m, x, y);
    else if (wide > 4 && vecs >= 4)
      es_spmm_outputs(taps, R, rows, 4, last, 0, m, x, y);
    else if (wide > 3 && vecs == 3)
      es_spmm_outputs(taps, R, rows, 3, last, 0, m, x, y);
    else if (wide > 2 && vecs == 2)
      es_spmm_outputs(taps, R, rows, 2, last, 0, m, x, y);
    else
      es_spmm_outputs(taps, R, rows, 1, last, 0, m, x, y);
  }
}

/* All pixels of a row, for blocks of R outputs. */
ES_FN void es_spmm_row(const int taps, const int R, const es_spmm *m, int P, const float *x,
                       float *y) {
  if (R == 1)
    es_spmm_image(taps, 1, 1, 4, m, P, x, y);
  else if (R == 4)
    es_spmm_image(taps, 4, 4, ES_REGS == 32 ? 4 : 2, m, P, x, y);
  else
    es_spmm_image(taps, 16, ES_REGS == 32 ? 8 : 4, 2, m, P, x, y);
}

#endif
