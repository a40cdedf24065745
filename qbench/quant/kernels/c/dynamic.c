/* int8 × int8: rows of x are rounded to int8 and multiplied with int8 weights; exact int32 sums, one rounding at the end.
 *
 * Floor: the codes over read bandwidth for few rows, twice bf16's products over peak for many. Both rows lie along
 * K as they are stored. A product of unsigned by signed bytes is what the machine has: x stands as code + 128, and
 * 128 times the sum of each weight row is taken back.
 */
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#define THREAD omp_get_thread_num()
#else
#define THREAD 0
#endif

#include "lanes.h"

#define R 4
#define TILE_M 6
#define ROWS 64
#define PART 4096 /* columns at a time: a tile's rows stay in the first cache */
#define BYTES 64  /* in a register */

/* What run_dynamic of native.py hands over; codes of x are (M, padded to BYTES), sums and scales (M). */
struct activations {
  uint8_t *codes;
  float *scales;
  int32_t *sums;
};

#if defined(QBENCH_AVX512_BF16) && defined(__AVX512VNNI__)

static inline __m512 widened(const uint16_t *x, long left) {
  const __mmask16 there = left >= LANES ? 0xffff : (__mmask16)((1 << left) - 1);
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* A row as code + 128, with 128 (a code of 0) beyond K. step: of static activations, or 0: max|x| / 127. */
static void round_row(const uint16_t *x, long K, float step, uint8_t *codes, float *scale, int32_t *sum) {
  __m512 most = _mm512_setzero_ps(), broken = _mm512_setzero_ps();
  for (long k = 0; k < K; k += LANES) {
    const __m512 values = widened(x + k, K - k);
    most = _mm512_max_ps(most, _mm512_abs_ps(values));
    broken = _mm512_fmadd_ps(values, _mm512_setzero_ps(), broken); /* nan where a value is inf or nan */
  }
  const float amax = fmaxf(_mm512_reduce_max_ps(most), 1e-30f);
  const float factor = step > 0 ? 1.0f / step : 127.0f / amax;
  *scale = (step > 0 ? step : amax / 127.0f) + _mm512_reduce_add_ps(broken);
  const __m512i low = _mm512_set1_epi32(-127), high = _mm512_set1_epi32(127);
  __m512i total = _mm512_setzero_si512();
  const long end = (K + BYTES - 1) / BYTES * BYTES;
  for (long k = 0; k < end; k += LANES) {
    const __m512 values = k < K ? widened(x + k, K - k) : _mm512_setzero_ps();
    __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(values, _mm512_set1_ps(factor)));
    rounded = _mm512_min_epi32(_mm512_max_epi32(rounded, low), high);
    total = _mm512_add_epi32(total, rounded);
    _mm_storeu_si128((__m128i *)(codes + k), _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, _mm512_set1_epi32(128))));
  }
  *sum = _mm512_reduce_add_epi32(total);
}

static inline void fold(const __m512i *v, int count, int32_t *to) {
  if (count == 1) {
    *to += _mm512_reduce_add_epi32(v[0]);
    return;
  }
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  const __m128i all = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  _mm_storeu_si128((__m128i *)to, _mm_add_epi32(_mm_loadu_si128((const __m128i *)to), all));
}

/* sums[m * ROWS + r] += Σ_k w[r, k] · x[m, k] for COUNT rows of W, K apart, and M rows of x, `apart` apart. */
#define DOT(M, COUNT)                                                                                             \
  static void dot_##M##_##COUNT(const uint8_t *x, long apart, const int8_t *w, long K, long columns,              \
                                int32_t *sums) {                                                                  \
    __m512i acc[M][COUNT];                                                                                        \
    memset(acc, 0, sizeof acc);                                                                                   \
    for (long k = 0; k < columns; k += BYTES) {                                                                   \
      const __mmask64 there = columns - k >= BYTES ? ~0ull : (1ull << (columns - k)) - 1;                         \
      __m512i ws[COUNT];                                                                                          \
      for (int r = 0; r < COUNT; r++) {                                                                           \
        ws[r] = _mm512_maskz_loadu_epi8(there, w + r * K + k);                                                    \
        if (M == 1) __builtin_prefetch(w + (r + COUNT) * K + k, 0, 3);                                            \
      }                                                                                                           \
      for (int m = 0; m < M; m++) {                                                                               \
        const __m512i xs = _mm512_loadu_si512(x + m * apart + k);                                                 \
        for (int r = 0; r < COUNT; r++) acc[m][r] = _mm512_dpbusd_epi32(acc[m][r], xs, ws[r]);                    \
      }                                                                                                           \
    }                                                                                                             \
    for (int m = 0; m < M; m++) fold(acc[m], COUNT, sums + m * ROWS);                                             \
  }

DOT(1, 1) DOT(2, 1) DOT(3, 1) DOT(4, 1) DOT(5, 1) DOT(6, 1)
DOT(1, 4) DOT(2, 4) DOT(3, 4) DOT(4, 4) DOT(5, 4) DOT(6, 4)

typedef void (*dot)(const uint8_t *, long, const int8_t *, long, long, int32_t *);
static const dot ONE[TILE_M + 1] = {0, dot_1_1, dot_2_1, dot_3_1, dot_4_1, dot_5_1, dot_6_1};
static const dot MANY[TILE_M + 1] = {0, dot_1_4, dot_2_4, dot_3_4, dot_4_4, dot_5_4, dot_6_4};

static void multiply(const struct activations *a, const int8_t *w, long K, long M, long count, int32_t *sums) {
  const long apart = (K + BYTES - 1) / BYTES * BYTES;
  const long tiles = (M + TILE_M - 1) / TILE_M, even = (M + tiles - 1) / tiles;
  memset(sums, 0, (size_t)(M * ROWS) * sizeof *sums);
  for (long k = 0; k < K; k += PART) {
    const long columns = K - k < PART ? K - k : PART;
    for (long m = 0; m < M; m += even) {
      const long rows_x = M - m < even ? M - m : even;
      for (long r = 0; r < count;) {
        const long rows_w = count - r >= R ? R : 1;
        const dot product = (rows_w == R ? MANY : ONE)[rows_x];
        product(a->codes + m * apart + k, apart, w + r * K + k, K, columns, sums + m * ROWS + r);
        r += rows_w;
      }
    }
  }
}

/* (Σ (code_x + 128) · code_w - 128 · Σ code_w - shift · Σ code_x) · scale_x · scale_w + bias */
static void finish(const struct weight *w, const struct activations *a, const int32_t *weight_sums, const float *shift,
                   const int32_t *sums, long m, long first, long count, uint16_t *out) {
  for (long r = 0; r < count; r++) {
    const long n = first + r;
    float value = (float)(sums[m * ROWS + r] - 128 * weight_sums[n]);
    if (shift) value -= shift[n] * (float)a->sums[m];
    value *= a->scales[m] * w->out_scale[n];
    if (w->bias) value += w->bias[n];
    out[m * w->rows + n] = to_bf16(value);
  }
}

/* out (M, N) bf16 from x (M, K) bf16; codes int8 (N, K). `work` holds M · (K padded to 64 + 8) bytes, `sums`
 * 64 · M int32 for each thread; weight_sums (N) are Σ code_w, shift (N) the zeros, null where all are 0. */
void qbench_int8_dynamic(const struct weight *w, const int8_t *codes, const uint16_t *x, const int32_t *weight_sums,
                         const float *shift, float step, uint8_t *work, int32_t *sums, uint16_t *out, int64_t M) {
  const long K = w->columns, N = w->rows, apart = (K + BYTES - 1) / BYTES * BYTES;
  const struct activations a = {work, (float *)(work + M * apart), (int32_t *)(work + M * (apart + 4))};
  const long rows = M <= TILE_M ? 16 : ROWS, blocks = (N + rows - 1) / rows;
#pragma omp parallel if (N * K >= SERIAL_BELOW || M > 64)
  {
#pragma omp for schedule(static)
    for (long m = 0; m < M; m++) round_row(x + m * K, K, step, a.codes + m * apart, a.scales + m, a.sums + m);
    int32_t *own = sums + THREAD * ROWS * M;
#pragma omp for schedule(static)
    for (long block = 0; block < blocks; block++) {
      const long first = block * rows, count = first + rows <= N ? rows : N - first;
      multiply(&a, codes + first * K, K, M, count, own);
      for (long m = 0; m < M; m++) finish(w, &a, weight_sums, shift, own, m, first, count, out);
    }
  }
}

int qbench_has_int8_dynamic(void) { return 1; }

#else

void qbench_int8_dynamic(const struct weight *w, const int8_t *codes, const uint16_t *x, const int32_t *weight_sums,
                         const float *shift, float step, uint8_t *work, int32_t *sums, uint16_t *out, int64_t M) {
  (void)w, (void)codes, (void)x, (void)weight_sums, (void)shift, (void)step, (void)work, (void)sums, (void)out, (void)M;
}

int qbench_has_int8_dynamic(void) { return 0; }

#endif
