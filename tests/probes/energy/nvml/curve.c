#include "curve.h"

#include <math.h>
#include <stdlib.h>

static double segment_power_w(const Segment *s, double t) {
    switch (s->shape) {
    case BURST:
        return fmod(t, s->period_s) < s->duty * s->period_s ? s->high_w : s->low_w;
    case RAMP:
        return t < s->period_s ? s->low_w + (s->high_w - s->low_w) * t / s->period_s : s->high_w;
    case DECAY:
        return s->high_w + (s->low_w - s->high_w) * exp(-t / s->period_s);
    default:
        return s->high_w;
    }
}

static double segment_energy_j(const Segment *s, double t) {
    double whole, part, rise;
    switch (s->shape) {
    case BURST:
        whole = floor(t / s->period_s);
        part = t - whole * s->period_s;
        rise = fmin(part, s->duty * s->period_s);
        return s->low_w * t + (s->high_w - s->low_w) * (whole * s->duty * s->period_s + rise);
    case RAMP:
        rise = fmin(t, s->period_s);
        return s->low_w * rise + (s->high_w - s->low_w) * rise * rise / (2 * s->period_s) + s->high_w * (t - rise);
    case DECAY:
        return s->high_w * t + (s->low_w - s->high_w) * s->period_s * (1 - exp(-t / s->period_s));
    default:
        return s->high_w * t;
    }
}

static const Segment *segment_at(const Curve *curve, double at_s) {
    long i = curve->count - 1; /* nearly always the last, or one before it */
    while (i > 0 && curve->segments[i].start_s > at_s) i--;
    return &curve->segments[i];
}

void curve_start(Curve *curve, double idle_w) {
    curve->count = 0;
    curve_append(curve, 0, CONSTANT, idle_w, idle_w, 1, 1);
}

void curve_append(Curve *curve, double now_s, int shape, double low_w, double high_w, double period_s, double duty) {
    Segment next = {now_s, curve->count ? curve_energy_j(curve, now_s) : 0, shape, low_w, high_w, period_s, duty};
    if (curve->count == curve->room) {
        curve->room = curve->room ? 2 * curve->room : 64;
        curve->segments = realloc(curve->segments, (size_t)curve->room * sizeof(Segment));
        if (!curve->segments) abort();
    }
    curve->segments[curve->count++] = next;
}

double curve_power_w(const Curve *curve, double at_s) {
    const Segment *s = segment_at(curve, at_s);
    return segment_power_w(s, fmax(at_s - s->start_s, 0));
}

double curve_energy_j(const Curve *curve, double until_s) {
    const Segment *s = segment_at(curve, until_s);
    return s->energy_j + segment_energy_j(s, fmax(until_s - s->start_s, 0));
}
