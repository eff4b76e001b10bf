/*
 * Real Fourier transforms of windowed frames, forth and back.
 *
 * N = R C, C even; n = C n1 + n2, k = k1 + R k2 (Cooley and Tukey):
 *
 *   X[k] = sum over n2 of W_C^(n2 k2)  W_N^(n2 k1)  sum over n1 of W_R^(n1 k1)  x[n]
 *
 * The inner sums run down the columns of x as it lies; two of them, half a row apart, are one complex
 * transform, because x is real. The outer sums run down the columns of the transposed result, of
 * which k1 <= R / 2 suffices: the other bins mirror these. So vectors lie across columns throughout,
 * and numbers change their places in one transposition and in the mirror.
 *
 * R and C have no prime factors but 2, 3 and 5. `t`, the table, is W_N^(n2 k1) / 2 as [2][R / 2 + 1][C],
 * then 16 zeros, then the turns of the transforms of R and of C points (es_fft).
 */
#ifndef ES_FOURIER_C
#define ES_FOURIER_C

#include "es.h"

#define ES_FFT_PAD 16 /* what whole vectors may read or write behind an array */

typedef struct {
  float *re, *im;
} es_complex;

typedef struct {
  es_v re, im;
} es_cv;

ES_FN es_cv es_cload(es_complex x, ptrdiff_t at) {
  return (es_cv){es_load(x.re + at), es_load(x.im + at)};
}
ES_FN void es_cstore(es_complex y, ptrdiff_t at, es_cv v) {
  es_store(y.re + at, v.re);
  es_store(y.im + at, v.im);
}
ES_FN es_cv es_cadd(es_cv a, es_cv b) { return (es_cv){es_add(a.re, b.re), es_add(a.im, b.im)}; }
ES_FN es_cv es_csub(es_cv a, es_cv b) { return (es_cv){es_sub(a.re, b.re), es_sub(a.im, b.im)}; }
ES_FN es_cv es_cmul(es_cv a, es_v re, es_v im) {
  return (es_cv){es_sub(es_mul(a.re, re), es_mul(a.im, im)), es_fma(a.re, im, es_mul(a.im, re))};
}
ES_FN es_cv es_cscale(es_cv a, float by) {
  return (es_cv){es_mul(a.re, es_set(by)), es_mul(a.im, es_set(by))};
}
/* a + i b and a - i b */
ES_FN es_cv es_cadd_i(es_cv a, es_cv b) { return (es_cv){es_sub(a.re, b.im), es_add(a.im, b.re)}; }
ES_FN es_cv es_csub_i(es_cv a, es_cv b) { return (es_cv){es_add(a.re, b.im), es_sub(a.im, b.re)}; }

/* a[j] = sum over k of a[k] W_r^(j k), for r of 2 to 5. */
ES_FN void es_butterfly(const int r, es_cv *a) {
  if (r == 2) {
    const es_cv d = es_csub(a[0], a[1]);
    a[0] = es_cadd(a[0], a[1]);
    a[1] = d;
  } else if (r == 3) {
    const es_cv sum = es_cadd(a[1], a[2]);
    const es_cv turned = es_cscale(es_csub(a[1], a[2]), 0.866025403784438647f);
    const es_cv rest = es_csub(a[0], es_cscale(sum, 0.5f));
    a[0] = es_cadd(a[0], sum);
    a[1] = es_csub_i(rest, turned);
    a[2] = es_cadd_i(rest, turned);
  } else if (r == 4) {
    const es_cv even = es_cadd(a[0], a[2]), even_d = es_csub(a[0], a[2]);
    const es_cv odd = es_cadd(a[1], a[3]), odd_d = es_csub(a[1], a[3]);
    a[0] = es_cadd(even, odd);
    a[1] = es_csub_i(even_d, odd_d);
    a[2] = es_csub(even, odd);
    a[3] = es_cadd_i(even_d, odd_d);
  } else {
    const float c1 = 0.309016994374947424f, c2 = -0.809016994374947424f;
    const float s1 = 0.951056516295153572f, s2 = 0.587785252292473129f;
    const es_cv sum1 = es_cadd(a[1], a[4]), sum2 = es_cadd(a[2], a[3]);
    const es_cv d1 = es_csub(a[1], a[4]), d2 = es_csub(a[2], a[3]);
    const es_cv rest1 = es_cadd(a[0], es_cadd(es_cscale(sum1, c1), es_cscale(sum2, c2)));
    const es_cv rest2 = es_cadd(a[0], es_cadd(es_cscale(sum1, c2), es_cscale(sum2, c1)));
    const es_cv turned1 = es_cadd(es_cscale(d1, s1), es_cscale(d2, s2));
    const es_cv turned2 = es_csub(es_cscale(d1, s2), es_cscale(d2, s1));
    a[0] = es_cadd(a[0], es_cadd(sum1, sum2));
    a[1] = es_csub_i(rest1, turned1);
    a[2] = es_csub_i(rest2, turned2);
    a[3] = es_cadd_i(rest2, turned2);
    a[4] = es_cadd_i(rest1, turned1);
  }
}

/*
 * One stage of Stockham's transform: points p, p + m, p + 2 m ... of `width` floats, the distance from
 * one to the next being `step`, become points r p, r p + 1, ... of the result, turned.
 */
#define ES_STAGE(r)                                                                                \
  ES_FN_RARE const float *es_stage_##r(int m, int width, int step, es_complex x, es_complex y,     \
                                       const float *turns) {                                       \
    for (int p = 0; p < m; p++) {                                                                  \
      ES_LOOP for (int i = 0; i < width; i += ES_W) {                                              \
        es_cv a[r];                                                                                \
        ES_UNROLL for (int k = 0; k < r; k++) a[k] =                                               \
            es_cload(x, (ptrdiff_t)(p + m * k) * step + i);                                        \
        es_butterfly(r, a);                                                                        \
        es_cstore(y, (ptrdiff_t)r * p * width + i, a[0]);                                          \
        if (p > 0)                                                                                 \
          ES_UNROLL for (int k = 1; k < r; k++) a[k] =                                             \
              es_cmul(a[k], es_set(turns[2 * k - 2]), es_set(turns[2 * k - 1]));                   \
        ES_UNROLL for (int k = 1; k < r; k++)                                                      \
            es_cstore(y, (ptrdiff_t)(r * p + k) * width + i, a[k]);                                \
      }                                                                                            \
      turns += p > 0 ? 2 * (r - 1) : 0;                                                            \
    }                                                                                              \
    return turns;                                                                                  \
  }

ES_STAGE(2)
ES_STAGE(3)
ES_STAGE(4)
ES_STAGE(5)

/* The stage with which a transform of n points begins. */
ES_FN int es_radix(int n) { return n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : n % 3 == 0 ? 3 : 5; }

/*
 * A transform of n points, each of them `lanes` floats (whole vectors), those of x `step` apart.
 * `*turns`: for each stage, for p from 1 to m - 1 and k from 1 to r - 1, the real and the imaginary
 * part of W_(r m)^(p k); moved on to what follows. The result lies densely in a or b; x may be b.
 */
ES_FN es_complex es_fft(int n, int lanes, int step, es_complex x, es_complex a, es_complex b,
                        const float **turns) {
  int width = lanes;
  es_complex to = a, other = b;
  while (n > 1) {
    const int r = es_radix(n);
    n /= r;
    if (r == 4)
      *turns = es_stage_4(n, width, step, x, to, *turns);
    else if (r == 2)
      *turns = es_stage_2(n, width, step, x, to, *turns);
    else if (r == 3)
      *turns = es_stage_3(n, width, step, x, to, *turns);
    else
      *turns = es_stage_5(n, width, step, x, to, *turns);
    width *= r;
    step = width;
    x = to, to = other, other = x;
  }
  return x;
}

#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)
typedef float es_f4 __attribute__((vector_size(16)));
typedef float es_f4_any __attribute__((vector_size(16), aligned(4), may_alias));

/* y[j][i] = x[i][j], four by four. */
ES_FN void es_transpose_four(const float *x, ptrdiff_t xs, float *y, ptrdiff_t ys) {
  const es_f4 a = *(const es_f4_any *)x, b = *(const es_f4_any *)(x + xs);
  const es_f4 c = *(const es_f4_any *)(x + 2 * xs), d = *(const es_f4_any *)(x + 3 * xs);
  const es_f4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const es_f4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const es_f4 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const es_f4 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(es_f4_any *)y = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(es_f4_any *)(y + ys) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *(es_f4_any *)(y + 2 * ys) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  *(es_f4_any *)(y + 3 * ys) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}
#else
ES_FN void es_transpose_four(const float *x, ptrdiff_t xs, float *y, ptrdiff_t ys) {
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++)
      y[j * ys + i] = x[i * xs + j];
}
#endif

/* y[j][i] = x[i][j] for i < rows, j < columns. */
ES_FN_RARE void es_transpose(int rows, int columns, const float *x, ptrdiff_t xs, float *y,
                             ptrdiff_t ys) {
  int i = 0;
  for (; i + 4 <= rows; i += 4) {
    int j = 0;
    ES_LOOP for (; j + 4 <= columns; j += 4)
        es_transpose_four(x + i * xs + j, xs, y + j * ys + i, ys);
    ES_LOOP for (; j < columns; j++) for (int l = i; l < i + 4; l++) y[j * ys + l] = x[l * xs + j];
  }
  for (; i < rows; i++)
    ES_LOOP for (int j = 0; j < columns; j++) y[j * ys + i] = x[i * xs + j];
}

/* What both directions know of a transform, and where they work. */
typedef struct {
  int N, R, C, half, lanes, columns; /* bins of a column; the same, and C / 2, in whole vectors */
  const float *twist_re, *twist_im, *turns;
  float *frame;       /* [N] */
  es_complex bins;    /* [N / 2 + 1] */
  es_complex a, b, c; /* whatever a step of the transform has made */
} es_fourier;

ES_FN es_fourier es_fourier_of(int N, int R, const float *t, float *scratch) {
  const int C = N / R, half = R / 2 + 1;
  es_fourier f = {.N = N, .R = R, .C = C, .half = half};
  f.lanes = es_round_up(half, ES_W);
  f.columns = es_round_up(C / 2, ES_W);
  f.twist_re = t;
  f.twist_im = t + half * C;
  f.turns = t + 2 * half * C + ES_FFT_PAD;
  const int line = es_round_up(N / 2 + 1, 16) + ES_FFT_PAD;
  const int tall = R * f.columns, wide = C * f.lanes;
  const int area = es_round_up(tall > wide ? tall : wide, 16) + ES_FFT_PAD;
  f.frame = scratch;
  scratch += es_round_up(N, 16) + ES_FFT_PAD;
  f.bins = (es_complex){scratch, scratch + line};
  scratch += 2 * line;
  f.a = (es_complex){scratch, scratch + area};
  f.b = (es_complex){scratch + 2 * area, scratch + 3 * area};
  f.c = (es_complex){scratch + 4 * area, scratch + 5 * area};
  return f;
}

ES_FN es_complex es_swapped(es_complex x) { return (es_complex){x.im, x.re}; }

/* f->bins of f->frame. */
ES_FN void es_fourier_forth(const es_fourier *f) {
  const int N = f->N, R = f->R, C = f->C, half = f->half, lanes = f->lanes;
  const float *turns = f->turns;
  const es_complex halves = {f->frame, f->frame + C / 2};
  const es_complex z = es_fft(R, f->columns, C, halves, f->a, f->b, &turns);
  /* The two columns apart, and turned. A row's end may run into the next, which is written later. */
  const es_complex rows = f->c;
  for (int k = 0; k < half; k++) {
    const ptrdiff_t at = (ptrdiff_t)k * f->columns;
    const ptrdiff_t mirror = (ptrdiff_t)(k > 0 ? R - k : 0) * f->columns;
    for (int side = 0; side < 2; side++) {
      const ptrdiff_t to = (ptrdiff_t)k * C + side * (C / 2);
      ES_LOOP for (int i = 0; i < C / 2; i += ES_W) {
        const es_cv p = es_cload(z, at + i), q = es_cload(z, mirror + i);
        const es_cv column = side == 0 ? (es_cv){es_add(p.re, q.re), es_sub(p.im, q.im)}
                                       : (es_cv){es_add(p.im, q.im), es_sub(q.re, p.re)};
        es_cstore(rows, to + i,
                  es_cmul(column, es_load(f->twist_re + to + i), es_load(f->twist_im + to + i)));
      }
    }
  }
  const es_complex turned = f->a;
  for (int j = 0; j < C; j++) /* lanes that no column fills */
    es_cstore(turned, (ptrdiff_t)(j + 1) * lanes - ES_W, (es_cv){es_set(0.0f), es_set(0.0f)});
  es_transpose(half, C, rows.re, C, turned.re, lanes);
  es_transpose(half, C, rows.im, C, turned.im, lanes);
  const es_complex found = es_fft(C, lanes, lanes, turned, f->b, f->a, &turns);
  const es_complex bins = f->bins;
  for (int j = 0; j < C / 2; j++) /* what follows a row's own bins is written after it */
    ES_LOOP for (int i = 0; i < half; i += ES_W) {
      es_cstore(bins, (ptrdiff_t)j * R + i, es_cload(found, (ptrdiff_t)j * lanes + i));
    }
  for (int j = C / 2; j < C; j++) {
    const int last = N - j * R; /* the bin that mirrors k1 = 0 */
    ES_LOOP for (int i = j == C / 2 ? 0 : 1; i < R - R / 2; i++) {
      bins.re[last - i] = found.re[j * lanes + i];
      bins.im[last - i] = -found.im[j * lanes + i];
    }
  }
}

/* f->frame of f->bins, of which those at 0 and N / 2 are real; N times the inverse, over 2. */
ES_FN void es_fourier_back(const es_fourier *f) {
  const int N = f->N, R = f->R, C = f->C, half = f->half, lanes = f->lanes;
  const es_complex bins = f->bins, rows = f->c, turned = f->a;
  const float *turns = f->turns, *turns_c = turns;
  for (int n = R; n > 1;) { /* those of C points stand behind those of R */
    const int r = es_radix(n);
    n /= r;
    turns_c += 2 * (r - 1) * (n - 1);
  }
  for (int j = 0; j < C / 2; j++)
    ES_LOOP for (int i = 0; i < lanes; i += ES_W) {
      es_cstore(turned, (ptrdiff_t)j * lanes + i, es_cload(bins, (ptrdiff_t)j * R + i));
    }
  for (int j = C / 2; j < C; j++) {
    const int last = N - j * R;
    es_cstore(turned, (ptrdiff_t)(j + 1) * lanes - ES_W, (es_cv){es_set(0.0f), es_set(0.0f)});
    ES_LOOP for (int i = 0; i < half; i++) {
      turned.re[j * lanes + i] = bins.re[last - i];
      turned.im[j * lanes + i] = -bins.im[last - i];
    }
  }
  const es_complex found = es_swapped(
      es_fft(C, lanes, lanes, es_swapped(turned), es_swapped(f->b), es_swapped(f->a), &turns_c));
  es_transpose(C, half, found.re, lanes, rows.re, C);
  es_transpose(C, half, found.im, lanes, rows.im, C);
  const es_complex z = f->a;
  for (int k = 0; k < half; k++) {
    const ptrdiff_t from = (ptrdiff_t)k * C;
    ES_LOOP for (int i = 0; i < C / 2; i += ES_W) {
      const ptrdiff_t one = from + i, two = from + C / 2 + i;
      const es_v zero = es_set(0.0f);
      const es_cv p = es_cmul(es_cload(rows, one), es_load(f->twist_re + one),
                              es_sub(zero, es_load(f->twist_im + one)));
      const es_cv q = es_cmul(es_cload(rows, two), es_load(f->twist_re + two),
                              es_sub(zero, es_load(f->twist_im + two)));
      es_cstore(z, (ptrdiff_t)k * f->columns + i, es_cadd_i(p, q));
      if (k > 0 && k < R - k)
        es_cstore(z, (ptrdiff_t)(R - k) * f->columns + i,
                  (es_cv){es_add(p.re, q.im), es_sub(q.re, p.im)});
    }
  }
  const es_complex y = es_swapped(
      es_fft(R, f->columns, f->columns, es_swapped(z), es_swapped(f->b), es_swapped(z), &turns));
  for (int j = 0; j < R; j++) { /* halves of rows; what follows them is written after them */
    const float *from[2] = {y.re + (ptrdiff_t)j * f->columns, y.im + (ptrdiff_t)j * f->columns};
    for (int side = 0; side < 2; side++)
      ES_LOOP for (int i = 0; i < C / 2; i += ES_W)
          es_store(f->frame + (ptrdiff_t)j * C + side * (C / 2) + i, es_load(from[side] + i));
  }
}

/*
 * Bins 0 to `bins` - 1 of frames: frame m of x[b] begins at m * x_ms - pad, has K numbers (those
 * outside of 0 .. L - 1 are zero), is multiplied by w[K], and filled up with zeros to N. Bin k has its
 * real part at y[b * y_bs + m * y_ms + re_at + k * y_ks], its imaginary part, times `sign`, at im_at; a
 * place below 0: nobody wants it.
 */
ES_FN void es_rfft_f32(int B, int M, int N, int R, int K, int bins, int sign, int L, int pad,
                       int x_bs, int x_ms, int y_bs, int y_ms, int y_ks, int re_at, int im_at,
                       const float *restrict x, const float *restrict w, const float *restrict t,
                       float *restrict y, float *restrict scratch) {
  const es_fourier f = es_fourier_of(N, R, t, scratch);
  es_zero(es_round_up(N, 16) + ES_FFT_PAD - K, f.frame + K);
  for (int b = 0; b < B; b++)
    for (int m = 0; m < M; m++) {
      const ptrdiff_t start = (ptrdiff_t)m * x_ms - pad;
      const int from = (int)(start < 0 ? (-start < K ? -start : K) : 0);
      const int to = (int)(start + K > L ? (start < L ? L - start : 0) : K);
      const float *const frame = x + (ptrdiff_t)b * x_bs + start;
      int i = from;
      if (from > 0)
        es_zero(from, f.frame);
      ES_LOOP for (; i + ES_W <= to; i += ES_W) {
        es_store(f.frame + i, es_mul(es_load(frame + i), es_load(w + i)));
      }
      if (i < to)
        es_store_n(f.frame + i, es_mul(es_load_n(frame + i, to - i), es_load_n(w + i, to - i)),
                   to - i);
      if (to < K)
        es_zero(K - to, f.frame + to);
      es_fourier_forth(&f);
      float *const row = y + (ptrdiff_t)b * y_bs + (ptrdiff_t)m * y_ms;
      if (re_at >= 0) {
        if (y_ks == 1)
          es_copy(bins, f.bins.re, row + re_at);
        else
          for (int k = 0; k < bins; k++)
            row[re_at + (ptrdiff_t)k * y_ks] = f.bins.re[k];
      }
      if (im_at >= 0) {
        if (y_ks == 1 && sign > 0)
          es_copy(bins, f.bins.im, row + im_at);
        else
          for (int k = 0; k < bins; k++)
            row[im_at + (ptrdiff_t)k * y_ks] = sign > 0 ? f.bins.im[k] : -f.bins.im[k];
      }
    }
}

/*
 * Frames of bins, the other way: bin k, times scale[k] (the imaginary part also times `sign`), from
 * x[b * x_bs + m * x_ms + re_at + k * x_ks] and im_at; bins that are not there are zero. The first K
 * numbers of the frame, times w[K], go to y[b * y_bs + m * y_ms - pad], those outside of 0 .. L - 1
 * nowhere; `add`: frames overlap, y[b] is their sum.
 */
ES_FN void es_irfft_f32(int B, int M, int N, int R, int K, int bins, int sign, int L, int pad,
                        int x_bs, int x_ms, int x_ks, int re_at, int im_at, int y_bs, int y_ms,
                        int add, const float *restrict x, const float *restrict scale,
                        const float *restrict w, const float *restrict t, float *restrict y,
                        float *restrict scratch) {
  const es_fourier f = es_fourier_of(N, R, t, scratch);
  const int line = es_round_up(N / 2 + 1, 16) + ES_FFT_PAD;
  es_zero(line - bins, f.bins.re + bins);
  es_zero(line - bins, f.bins.im + bins);
  for (int b = 0; b < B; b++) {
    float *const out = y + (ptrdiff_t)b * y_bs;
    if (add)
      es_zero(L, out);
    for (int m = 0; m < M; m++) {
      const float *const row = x + (ptrdiff_t)b * x_bs + (ptrdiff_t)m * x_ms;
      for (int k = 0; k < bins; k++) {
        const float re = row[re_at + (ptrdiff_t)k * x_ks], im = row[im_at + (ptrdiff_t)k * x_ks];
        f.bins.re[k] = re * scale[k];
        f.bins.im[k] = (sign > 0 ? im : -im) * scale[k];
      }
      f.bins.im[0] = 0.0f;
      f.bins.im[N / 2] = 0.0f;
      es_fourier_back(&f);
      const ptrdiff_t start = (ptrdiff_t)m * y_ms - pad;
      int i = (int)(start < 0 ? (-start < K ? -start : K) : 0);
      const int to = (int)(start + K > L ? (start < L ? L - start : 0) : K);
      ES_LOOP for (; i < to; i += ES_W) {
        const int n = es_least(to - i, ES_W);
        const es_v v = es_mul(es_load_n(f.frame + i, n), es_load_n(w + i, n));
        es_store_n(out + start + i, add ? es_add(es_load_n(out + start + i, n), v) : v, n);
      }
    }
  }
}

#endif
