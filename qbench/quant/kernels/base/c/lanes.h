/* Vectors of 16 floats, bf16, and the description of a packed weight: shared by every kernel in this folder. */
#ifndef QBENCH_LANES_H
#define QBENCH_LANES_H

#include <stdint.h>
#include <string.h>

/* QBENCH_PORTABLE leaves the intrinsics out, so that the portable code can be tested where they exist. */
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512BF16__) && !defined(QBENCH_PORTABLE)
#include <immintrin.h>
#define QBENCH_AVX512_BF16 1
#endif

#define LANES 16
#define WIDE 32                 /* bf16 values in 512 bits; rows of x and expanded rows of W are padded to it */
#define BLOCK 64                /* columns that are packed together, see packing.py */
#define SERIAL_BELOW (1L << 17) /* weights: waking a second thread costs more than they take */

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));

enum number { FP32, BF16, FP16, UINT8 };
enum format { E4M3 = 9, E5M2 = 10 }; /* 2 ... 8: integers of that many bits; 8: int8, code - 128 */
#define BITS(format) ((format) > 8 ? 8 : (format))

/* A weight of N rows and K columns: the value of a code q is (q - zero) * scale, of an 8-bit float q * scale.
 * Field by field the same as native.py's Weight. */
struct weight {
  const void *scale;       /* (rows / shared, ceil(K / group)); null: 1 */
  const void *zero;        /* of the same shape; null: 2^(bits - 1) */
  const float *out_scale;  /* (N): what the sum of an output is multiplied with; null: nothing */
  const float *bias;       /* (N), or null */
  int64_t rows, columns;   /* N, K */
  int64_t row_bytes;       /* of the packed codes */
  int64_t group;           /* columns that share a scale; K where there is one a row */
  int64_t shared;          /* rows that share a scale */
  int32_t format;          /* bits of an integer, or enum format */
  int32_t scale_type, zero_type;
};

static inline long padded(long columns) { return (columns + WIDE - 1) / WIDE * WIDE; }

/* Round to nearest even, as torch does; NaN stays NaN. */
static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float from_bf16(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float from_fp16(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff, bits;
  float value;
  if (rest < 0x400) { /* subnormal: a multiple of 2^-24 */
    value = (float)rest * 0x1p-24f;
    return sign ? -value : value;
  }
  bits = sign | (rest >= 0x7c00 ? 0x7f800000 | (rest & 0x3ff) << 13 : (rest << 13) + (112u << 23));
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline long groups_of(const struct weight *w) { return (w->columns + w->group - 1) / w->group; }

/* Columns that a plane holds, so that a plane of width b takes planes_of * b / 8 bytes. */
static inline long planes_of(const struct weight *w) { return (w->columns + 7) / 8 * 8; }

/* Scales and zeros of `count` rows as floats, (count, groups_of). */
void affine_rows(const struct weight *w, long row, long count, float *scales, float *zeros);

/* The value of an 8-bit float: the upper half of an fp16, in E4M3 but for an exponent that is off by 8. */
static inline float from_fp8(uint8_t code, int format) {
  if (format == E5M2) return from_fp16((uint16_t)(code << 8));
  return from_fp16((uint16_t)((code & 0x80) << 8 | (code & 0x7f) << 7)) * 256;
}

/* Columns first ... last - 1 of a row of the codes as bf16 of (q - zero) * scale, rounded once; zeros from K on.
 * first is a multiple of BLOCK, and so is last unless it is padded(K); scales, zeros: what affine_rows made for it. */
void expand_part(const struct weight *w, const uint8_t *codes, long row, long first, long last, const float *scales,
                 const float *zeros, uint16_t *out);

#endif
