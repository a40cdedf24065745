/* The simulated machine behind the NVML functions of nvml.c; tests set it through the sim_ functions. */
#ifndef SIMULATED_H
#define SIMULATED_H

#include "curve.h"

#define MAX_GPUS 8
#define MAX_PROCESSES 16

typedef struct {
    char uuid[96], name[96];
    Curve curve;
    double idle_w;

    double tick_s, jitter;        /* the counter's period, and how far a tick strays, as a share of it */
    double lag_s;                 /* how old the energy is that a tick shows */
    unsigned long long step_mj;   /* the counter's resolution */
    double sensor_s, sensor_duty; /* the power sensor's period, and the share of it that it looks at */
    double average_s;             /* averaging window of PowerUsage and of field 185 */
    long sensor_done;             /* sensor periods that the counter has summed up, and their joules */
    double sensor_j;

    unsigned mig, temperature_c, clock_mhz, limit_mw, persistence, processes;
    unsigned pids[MAX_PROCESSES];
    unsigned long long throttle;
    int gpu_scope, module_scope; /* whether instant power is there in this scope */
    double module_w;             /* what the rest of a module draws on top */
} Gpu;

typedef struct {
    double now_s, call_s; /* the virtual clock, and what each NVML call costs on it */
    int gpus, started;
    Gpu gpu[MAX_GPUS];
} Machine;

extern Machine machine;

int sim_failure(const char *function); /* the error that this function is told to answer, or 0 */
unsigned long long gpu_counter_mj(Gpu *gpu);
double gpu_instant_w(const Gpu *gpu);
double gpu_average_w(const Gpu *gpu);

#endif
