/* A power curve over virtual time whose integral is known in closed form: a list of segments that only grows. */
#ifndef CURVE_H
#define CURVE_H

enum Shape {
    CONSTANT, /* high_w */
    BURST,    /* high_w for duty * period_s, then low_w, from the segment's start */
    RAMP,     /* from low_w to high_w over period_s, then high_w */
    DECAY     /* from low_w towards high_w with the time constant period_s */
};

typedef struct {
    double start_s, energy_j; /* where it begins, and joules until there */
    int shape;
    double low_w, high_w, period_s, duty;
} Segment;

typedef struct {
    Segment *segments;
    long count, room;
} Curve;

void curve_start(Curve *curve, double idle_w);
void curve_append(Curve *curve, double now_s, int shape, double low_w, double high_w, double period_s, double duty);
double curve_power_w(const Curve *curve, double at_s);
double curve_energy_j(const Curve *curve, double until_s);

#endif
