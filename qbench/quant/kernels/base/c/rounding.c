/* Steps before and after an int8 product that torch does: activations to int8, sums to bf16; one pass each. */
#include <math.h>

#include "lanes.h"

#define TOGETHER 256 /* columns that one thread looks through at a time */

/* Columns of x bf16 (M, K) that hold a magnitude of `threshold` or more, ascending; returns how many. A magnitude's
 * bits grow with it, so that integers are compared. most: K values to work with. */
int64_t qbench_columns_over(const uint16_t *x, float threshold, uint16_t *most, int64_t *found, int64_t M, int64_t K) {
  int64_t count = 0;
  memset(most, 0, (size_t)K * sizeof *most);
#pragma omp parallel for schedule(static) if (M * K >= SERIAL_BELOW)
  for (int64_t first = 0; first < K; first += TOGETHER) {
    const int64_t end = first + TOGETHER < K ? first + TOGETHER : K;
    for (int64_t m = 0; m < M; m++)
      for (int64_t k = first; k < end; k++) {
        const uint16_t magnitude = x[m * K + k] & 0x7fff;
        most[k] = magnitude > most[k] ? magnitude : most[k];
      }
  }
  for (int64_t k = 0; k < K; k++)
    if (from_bf16(most[k]) >= threshold) found[count++] = k;
  return count;
}

#ifdef QBENCH_AVX512_BF16

static inline __mmask16 mask_of(long left) { return left >= LANES ? 0xffff : (__mmask16)((1 << left) - 1); }

static inline __m512 widened(const uint16_t *x, __mmask16 there) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* A row as code + 128; step: of static activations, or 0: max|x| / 127. */
static void round_row(const uint16_t *x, long K, float step, uint8_t *codes, float *scale) {
  __m512 most = _mm512_setzero_ps(), broken = _mm512_setzero_ps();
  for (long k = 0; k < K; k += LANES) {
    const __m512 values = widened(x + k, mask_of(K - k));
    most = _mm512_max_ps(most, _mm512_abs_ps(values));
    broken = _mm512_fmadd_ps(values, _mm512_setzero_ps(), broken); /* nan where a value is inf or nan */
  }
  const float amax = fmaxf(_mm512_reduce_max_ps(most), 1e-30f);
  const __m512 factor = _mm512_set1_ps(step > 0 ? 1.0f / step : 127.0f / amax);
  *scale = (step > 0 ? step : amax / 127.0f) + _mm512_reduce_add_ps(broken);
  const __m512i low = _mm512_set1_epi32(-127), high = _mm512_set1_epi32(127);
  for (long k = 0; k < K; k += LANES) {
    const __mmask16 there = mask_of(K - k);
    __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(widened(x + k, there), factor));
    rounded = _mm512_add_epi32(_mm512_min_epi32(_mm512_max_epi32(rounded, low), high), _mm512_set1_epi32(128));
    _mm_mask_storeu_epi8(codes + k, there, _mm512_cvtepi32_epi8(rounded));
  }
}

/* codes uint8 (M, K) and scales (M) of x bf16 (M, K). */
void qbench_round_rows(const uint16_t *x, float step, uint8_t *codes, float *scales, int64_t M, int64_t K) {
#pragma omp parallel for schedule(static) if (M * K >= SERIAL_BELOW)
  for (int64_t m = 0; m < M; m++) round_row(x + m * K, K, step, codes + m * K, scales + m);
}

/* out bf16 (M, N) = (products - sums ⊗ zero) · scales + bias; sums with zero, and bias, may be null. */
void qbench_finish_rows(const float *products, const float *scales, const float *sums, const float *zero,
                        const float *bias, uint16_t *out, int64_t M, int64_t N) {
#pragma omp parallel for schedule(static) if (M * N >= SERIAL_BELOW)
  for (int64_t m = 0; m < M; m++)
    for (int64_t n = 0; n < N; n += LANES) {
      const __mmask16 there = mask_of(N - n);
      __m512 value = _mm512_maskz_loadu_ps(there, products + m * N + n);
      if (zero) value = _mm512_fnmadd_ps(_mm512_set1_ps(sums[m]), _mm512_maskz_loadu_ps(there, zero + n), value);
      value = _mm512_mul_ps(value, _mm512_set1_ps(scales[m]));
      if (bias) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(there, bias + n));
      _mm256_mask_storeu_epi16(out + m * N + n, there, (__m256i)_mm512_cvtneps_pbh(value));
    }
}

int qbench_rounds(void) { return 1; }

#else

void qbench_round_rows(const uint16_t *x, float step, uint8_t *codes, float *scales, int64_t M, int64_t K) {
  (void)x, (void)step, (void)codes, (void)scales, (void)M, (void)K;
}

void qbench_finish_rows(const float *products, const float *scales, const float *sums, const float *zero,
                        const float *bias, uint16_t *out, int64_t M, int64_t N) {
  (void)products, (void)scales, (void)sums, (void)zero, (void)bias, (void)out, (void)M, (void)N;
}

int qbench_rounds(void) { return 0; }

#endif
