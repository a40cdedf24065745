/* The simulated machine: clock, counters and sensors, and the sim_ functions by which tests drive them. */
#include "simulated.h"

#include <math.h>
#include <string.h>

#define MAX_FAILURES 32

Machine machine;
static struct {
    char function[64];
    int error;
} failures[MAX_FAILURES];
static int failing;

/* Uniform in [-0.5, 0.5), the same for one tick whenever it is asked for (splitmix64). */
static double stray(long tick) {
    unsigned long long z = (unsigned long long)tick * 0x9E3779B97F4A7C15ull + 0x1234567ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0 - 0.5;
}

static double tick_at(const Gpu *gpu, long tick) { return gpu->tick_s * ((double)tick + gpu->jitter * stray(tick)); }

static double last_tick_s(const Gpu *gpu) {
    long tick = (long)floor(machine.now_s / gpu->tick_s) + 1;
    while (tick_at(gpu, tick) > machine.now_s) tick--;
    return fmax(tick_at(gpu, tick), 0);
}

/* What the sensor saw of the period that ends at `end_s`: the mean over the share that it looks at. */
static double seen_w(const Gpu *gpu, double end_s) {
    double look_s = gpu->sensor_s * gpu->sensor_duty;
    return (curve_energy_j(&gpu->curve, end_s) - curve_energy_j(&gpu->curve, end_s - look_s)) / look_s;
}

/* Joules as the counter integrates them: exactly, or through a sensor that looks away for part of the time. */
static double counted_j(Gpu *gpu, double until_s) {
    if (gpu->sensor_duty >= 1) return curve_energy_j(&gpu->curve, until_s);
    for (; (double)(gpu->sensor_done + 1) * gpu->sensor_s <= until_s; gpu->sensor_done++)
        gpu->sensor_j += gpu->sensor_s * seen_w(gpu, (double)(gpu->sensor_done + 1) * gpu->sensor_s);
    return gpu->sensor_j;
}

unsigned long long gpu_counter_mj(Gpu *gpu) {
    unsigned long long mj = (unsigned long long)(counted_j(gpu, fmax(last_tick_s(gpu) - gpu->lag_s, 0)) * 1000);
    return mj - mj % gpu->step_mj;
}

double gpu_instant_w(const Gpu *gpu) {
    double end_s = floor(machine.now_s / gpu->sensor_s) * gpu->sensor_s;
    return end_s < gpu->sensor_s ? gpu->idle_w : seen_w(gpu, end_s);
}

double gpu_average_w(const Gpu *gpu) {
    double from_s = fmax(machine.now_s - gpu->average_s, 0), passed_s = fmax(machine.now_s - from_s, 1e-9);
    return (curve_energy_j(&gpu->curve, machine.now_s) - curve_energy_j(&gpu->curve, from_s)) / passed_s;
}

int sim_failure(const char *function) {
    for (int i = 0; i < failing; i++)
        if (!strcmp(failures[i].function, function)) return failures[i].error;
    return 0;
}

/* What tests call. */

void sim_reset(double now_s, double call_s) {
    for (int i = 0; i < MAX_GPUS; i++) {
        Curve kept = machine.gpu[i].curve;
        memset(&machine.gpu[i], 0, sizeof(Gpu));
        machine.gpu[i].curve = kept;
    }
    machine.now_s = now_s;
    machine.call_s = call_s;
    machine.gpus = machine.started = failing = 0;
}

int sim_add_gpu(const char *uuid, const char *name, double idle_w) {
    Gpu *gpu = &machine.gpu[machine.gpus];
    strncpy(gpu->uuid, uuid, sizeof(gpu->uuid) - 1);
    strncpy(gpu->name, name, sizeof(gpu->name) - 1);
    curve_start(&gpu->curve, idle_w);
    gpu->idle_w = idle_w;
    gpu->limit_mw = 700000;
    gpu->temperature_c = 41;
    gpu->clock_mhz = 1980;
    gpu->persistence = gpu->gpu_scope = 1;
    return machine.gpus++;
}

void sim_counter(int index, double tick_s, double jitter, double lag_s, unsigned long long step_mj) {
    Gpu *gpu = &machine.gpu[index];
    gpu->tick_s = tick_s;
    gpu->jitter = jitter;
    gpu->lag_s = lag_s;
    gpu->step_mj = step_mj;
}

void sim_sensor(int index, double sensor_s, double duty, double average_s) {
    Gpu *gpu = &machine.gpu[index];
    gpu->sensor_s = sensor_s;
    gpu->sensor_duty = duty;
    gpu->average_s = average_s;
    gpu->sensor_done = (long)floor(machine.now_s / sensor_s);
    gpu->sensor_j = curve_energy_j(&gpu->curve, (double)gpu->sensor_done * sensor_s);
}

void sim_facts(int index, unsigned mig, unsigned temperature_c, unsigned long long throttle) {
    machine.gpu[index].mig = mig;
    machine.gpu[index].temperature_c = temperature_c;
    machine.gpu[index].throttle = throttle;
}

void sim_scopes(int index, int gpu_scope, int module_scope, double module_w) {
    machine.gpu[index].gpu_scope = gpu_scope;
    machine.gpu[index].module_scope = module_scope;
    machine.gpu[index].module_w = module_w;
}

void sim_processes(int index, unsigned count, const unsigned *pids) {
    machine.gpu[index].processes = count;
    memcpy(machine.gpu[index].pids, pids, count * sizeof(unsigned));
}

void sim_load(int index, int shape, double low_w, double high_w, double period_s, double duty) {
    curve_append(&machine.gpu[index].curve, machine.now_s, shape, low_w, high_w, period_s, duty);
}

void sim_fail(const char *function, int error) {
    strncpy(failures[failing].function, function, sizeof(failures[failing].function) - 1);
    failures[failing++].error = error;
}

void sim_pass(double seconds) { machine.now_s += seconds; }
double sim_now_s(void) { return machine.now_s; }
double sim_power_w(int index, double at_s) { return curve_power_w(&machine.gpu[index].curve, at_s); }
double sim_energy_j(int index, double until_s) { return curve_energy_j(&machine.gpu[index].curve, until_s); }
