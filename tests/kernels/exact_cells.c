/*
 * GRU (linear_before_reset = 1, gates z r n) and LSTM (gates i o f g) of ONNX in double, n steps.
 * w [G H, I], r [G H, H], b [2 G H], x [n, I]; s: h, of the LSTM then c; y [n]: s after each step.
 */
#include <math.h>
#include <string.h>

static double sigmoid(double v) { return 1 / (1 + exp(-v)); }

static double dot(int n, const double *a, const double *b) {
  double sum = 0;
  for (int i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

void gru(int n, int I, int H, const double *w, const double *r, const double *b, const double *x,
         double *s, double *y) {
  for (int t = 0; t < n; t++, x += I, y += H) {
    for (int u = 0; u < H; u++) {
      double in[3], own[3];
      for (int g = 0; g < 3; g++) {
        in[g] = dot(I, w + (g * H + u) * I, x) + b[g * H + u];
        own[g] = dot(H, r + (g * H + u) * H, s) + b[(3 + g) * H + u];
      }
      const double z = sigmoid(in[0] + own[0]);
      y[u] = (1 - z) * tanh(in[2] + sigmoid(in[1] + own[1]) * own[2]) + z * s[u];
    }
    memcpy(s, y, sizeof(double) * (size_t)H);
  }
}

void lstm(int n, int I, int H, const double *w, const double *r, const double *b, const double *x,
          double *s, double *y) {
  for (int t = 0; t < n; t++, x += I, y += 2 * H) {
    for (int u = 0; u < H; u++) {
      double v[4];
      for (int g = 0; g < 4; g++)
        v[g] = dot(I, w + (g * H + u) * I, x) + dot(H, r + (g * H + u) * H, s) + b[g * H + u] +
               b[(4 + g) * H + u];
      const double c = sigmoid(v[2]) * s[H + u] + sigmoid(v[0]) * tanh(v[3]);
      y[H + u] = c;
      y[u] = sigmoid(v[1]) * tanh(c);
    }
    memcpy(s, y, sizeof(double) * 2 * (size_t)H);
  }
}
