/* Packed codes of 2 to 8 bits → bf16 weights in memory. */
#include "lookup.h"

#define PART 1024 /* columns that the plain code takes at a time */

static void convert(const void *from, long first, long count, int type, float *to) {
  switch (type) {
    case FP32: memcpy(to, (const float *)from + first, (size_t)count * sizeof *to); break;
    case BF16:
      for (long i = 0; i < count; i++) to[i] = from_bf16(((const uint16_t *)from)[first + i]);
      break;
    case FP16:
      for (long i = 0; i < count; i++) to[i] = from_fp16(((const uint16_t *)from)[first + i]);
      break;
    default:
      for (long i = 0; i < count; i++) to[i] = (float)((const uint8_t *)from)[first + i];
  }
}

static void convert_rows(const struct weight *w, const void *from, int type, float constant, long row, long count,
                         float *to) {
  const long groups = groups_of(w);
  if (!from)
    for (long g = 0; g < count * groups; g++) to[g] = constant;
  else if (w->shared == 1)
    convert(from, row * groups, count * groups, type, to);
  else
    for (long r = 0; r < count; r++) convert(from, (row + r) / w->shared * groups, groups, type, to + r * groups);
}

void affine_rows(const struct weight *w, long row, long count, float *scales, float *zeros) {
  convert_rows(w, w->scale, w->scale_type, 1, row, count, scales);
  convert_rows(w, w->zero, w->zero_type, w->format > 8 ? 0 : (float)(1 << (w->format - 1)), row, count, zeros);
}

/* Integer codes of columns first ... end - 1 as bytes; first is a multiple of BLOCK, and so is end unless it is K. */
static void unpack(const struct weight *w, const uint8_t *row, long first, long end, uint8_t *out) {
  const long whole = planes_of(w);
  if (w->format >= 8) {
    const int offset = w->format == 8 ? 128 : 0;
    for (long k = first; k < end; k++) out[k - first] = (uint8_t)(row[k] + offset);
    return;
  }
  int low = 0;
  for (const int *plane = PLANES[w->format]; low < w->format; low += *plane++) {
    const int width = *plane;
    const uint8_t mask = (uint8_t)((1 << width) - 1);
    for (long block = first; block < end; block += BLOCK) {
      const long step = (whole - block < BLOCK ? whole - block : BLOCK) * width / 8;
      const uint8_t *bytes = row + block * width / 8;
      uint8_t *to = out + (block - first);
      for (int piece = 0; piece < 8 / width; piece++, to += step)
        for (long j = 0; j < step; j++) {
          const uint8_t bits = (uint8_t)((bytes[j] >> (piece * width) & mask) << low);
          to[j] = low ? (uint8_t)(to[j] | bits) : bits;
        }
    }
    row += whole * width / 8;
  }
}

/* Columns first ... last - 1 in plain C: ends of rows, and groups that a register does not divide. */
static void expand_plainly(const struct weight *w, const uint8_t *row, long first, long last, const float *scales,
                           const float *zeros, uint16_t *out) {
  uint8_t bytes[PART + 8];
  for (long start = first; start < last; start += PART) {
    const long end = start + PART < last ? start + PART : last;
    unpack(w, row, start, end, bytes);
    for (long k = start; k < end;) {
      const long group = k / w->group, next = (group + 1) * w->group, stop = next < end ? next : end;
      const float scale = scales[group], zero = zeros[group];
      if (w->format > 8)
        for (; k < stop; k++) out[k] = to_bf16(from_fp8(bytes[k - start], w->format) * scale);
      else
        for (; k < stop; k++) out[k] = to_bf16(((float)bytes[k - start] - zero) * scale);
    }
  }
}

#ifdef QBENCH_AVX512_BF16

#define STORE(half, k, values) _mm512_storeu_si512(out + (k), values)
#define EXPAND(FORMAT)                                                                                            \
  static long expand_##FORMAT(const struct weight *w, const uint8_t *row, long first, long end, const float *s,     \
                            const float *z, uint16_t *out) {                                                      \
    const long whole = first + (end - first) / BLOCK * BLOCK;                                                     \
    EACH_REGISTER(w, FORMAT, row, first, whole, s, z, STORE);                                                       \
    return whole;                                                                                                 \
  }
EXPAND(2) EXPAND(3) EXPAND(4) EXPAND(5) EXPAND(6) EXPAND(7) EXPAND(8) EXPAND(9) EXPAND(10)

typedef long (*expand)(const struct weight *, const uint8_t *, long, long, const float *, const float *, uint16_t *);
static const expand BY_FORMAT[11] = {0,        0,        expand_2, expand_3, expand_4, expand_5,
                                     expand_6, expand_7, expand_8, expand_9, expand_10};

static long expand_fast(const struct weight *w, const uint8_t *row, long first, long end, const float *scales,
                        const float *zeros, uint16_t *out) {
  if (w->group % WIDE && w->group != w->columns) return first;
  return BY_FORMAT[w->format](w, row, first, end, scales, zeros, out);
}

#else

static long expand_fast(const struct weight *w, const uint8_t *row, long first, long end, const float *scales,
                        const float *zeros, uint16_t *out) {
  (void)w, (void)row, (void)end, (void)scales, (void)zeros, (void)out;
  return first;
}

#endif

void expand_part(const struct weight *w, const uint8_t *codes, long row, long first, long last, const float *scales,
                 const float *zeros, uint16_t *out) {
  const uint8_t *bytes = codes + row * w->row_bytes;
  const long end = last < w->columns ? last : w->columns;
  const long done = expand_fast(w, bytes, first, end, scales, zeros, out - first);
  if (done < end) expand_plainly(w, bytes, done, end, scales, zeros, out - first);
  memset(out + (end - first), 0, (size_t)(last - end) * sizeof *out);
}
