/*
 * Linear attention with the delta rule (DeltaNet, gated DeltaNet): per stream and head,
 *
 *   S = decay * S                  decay: none, a factor a head, or a factor for each row of S
 *   S = S + k (beta (x - S^T k))^T
 *   y = scale * q S
 *
 * The arguments are those of outer_scan.c; beta is [H] of a step, or one for all heads (beta_h = 0).
 */
#ifndef ES_DELTA_SCAN_C
#define ES_DELTA_SCAN_C

#include "matrix_scan.h"

ES_FN void es_delta_scan_f32(int T, int B, int H, int G, int K, int V, int decays, int log, int q_t,
                             int q_b, int k_t, int k_b, int x_t, int x_b, int g_t, int g_b,
                             int beta_t, int beta_b, int beta_h, int y_t, int y_b, const float *q,
                             const float *k, const float *x, const float *decay, const float *beta,
                             const float *h0, const float *scale, float *y, float *h_n,
                             float *scratch) {
  float *const factors = scratch;
  float *S = es_matrix_start(B * H * K * V, h0, h_n, scratch + es_round_up(K, 16));
  for (ptrdiff_t b = 0; b < B; b++)
    for (int h = 0; h < H; h++, S += (ptrdiff_t)K * V)
      for (ptrdiff_t t = 0; t < T; t++) {
        const float *row = es_matrix_decay(decays, log, h, K, decay, t * g_t + b * g_b, factors);
        const es_matrix_step step = {.K = K,
                                     .V = V,
                                     .G = G,
                                     .q = q + t * q_t + b * q_b + h * G * K,
                                     .k = k + t * k_t + b * k_b + h * K,
                                     .v = x + t * x_t + b * x_b + h * V,
                                     .decay = row,
                                     .bonus = 0,
                                     .scale = scale ? *scale : 1.0f,
                                     .beta = beta[t * beta_t + b * beta_b + h * beta_h],
                                     .S = S,
                                     .o = y + t * y_t + b * y_b + h * G * V};
        es_matrix_head(1, &step);
      }
}

#endif
