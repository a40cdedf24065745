/* The part of NVML that qbench calls, with the binary interface that nvidia-ml-py expects, on simulated GPUs.
 *
 * Built as libnvidia-ml.so.1. -DWITHOUT_ENERGY and -DWITHOUT_FIELDS leave functions out, as old drivers do.
 * In a process of its own, where no test can call sim_ functions first, SIMULATED_NVML=1 stands for two GPUs. */
#include "simulated.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    FIELD_AVERAGE = 185,
    FIELD_INSTANT = 186
};
enum { SCOPE_GPU = 0, SCOPE_MODULE = 1 };

typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    uint32_t value_type, result;
    union {
        double f64;
        uint32_t u32;
        uint64_t u64;
    } value;
} FieldValue;

typedef struct {
    uint32_t pid;
    uint64_t bytes;
    uint32_t gpu_instance, compute_instance;
} Process;

void sim_reset(double now_s, double call_s);
int sim_add_gpu(const char *uuid, const char *name, double idle_w);
void sim_counter(int index, double tick_s, double jitter, double lag_s, unsigned long long step_mj);
void sim_sensor(int index, double sensor_s, double duty, double average_s);

/* Every call takes time, fails where it was told to, and needs nvmlInit first. */
#define ENTER(function)                                         \
    do {                                                        \
        int failure = sim_failure(#function);                   \
        machine.now_s += machine.call_s;                        \
        if (failure) return failure;                            \
        if (!machine.started) return UNINITIALIZED;             \
    } while (0)

#define GETTER(function, type, expression)       \
    int function(Gpu *gpu, type *value) {        \
        ENTER(function);                         \
        *value = (type)(expression);             \
        return 0;                                \
    }

static void two_gpus(void) {
    sim_reset(100, 1e-5);
    for (int i = 0; i < 2; i++) {
        sim_add_gpu(i ? "GPU-0000aaaa-1" : "GPU-ffff0000-0", "Simulated H100", 60 + 10 * i);
        sim_counter(i, 0.1, 0, 0, 1);
        sim_sensor(i, 0.1, 1, 1);
    }
}

int nvmlInitWithFlags(unsigned flags) {
    int failure = sim_failure("nvmlInit");
    (void)flags;
    if (failure) return failure;
    if (!machine.gpus && getenv("SIMULATED_NVML")) two_gpus();
    machine.started++;
    return 0;
}

int nvmlShutdown(void) {
    if (!machine.started) return UNINITIALIZED;
    machine.started--;
    return 0;
}

int nvmlSystemGetDriverVersion(char *text, unsigned room) {
    strncpy(text, "570.00", room);
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    ENTER(nvmlDeviceGetCount);
    *count = (unsigned)machine.gpus;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    ENTER(nvmlDeviceGetHandleByIndex);
    if (index >= (unsigned)machine.gpus) return INVALID_ARGUMENT;
    *gpu = &machine.gpu[index];
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **gpu) {
    ENTER(nvmlDeviceGetHandleByUUID);
    for (int i = 0; i < machine.gpus; i++) {
        *gpu = &machine.gpu[i];
        if (!strcmp(uuid, (*gpu)->uuid)) return 0;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetName(Gpu *gpu, char *text, unsigned room) {
    ENTER(nvmlDeviceGetName);
    strncpy(text, gpu->name, room);
    return 0;
}

int nvmlDeviceGetUUID(Gpu *gpu, char *text, unsigned room) {
    ENTER(nvmlDeviceGetUUID);
    strncpy(text, gpu->uuid, room);
    return 0;
}

int nvmlDeviceGetMemoryInfo(Gpu *gpu, uint64_t *total_free_used) {
    ENTER(nvmlDeviceGetMemoryInfo);
    (void)gpu;
    total_free_used[0] = total_free_used[1] = 80ull << 30;
    total_free_used[2] = 0;
    return 0;
}

int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    ENTER(nvmlDeviceGetMigMode);
    *current = *pending = gpu->mig;
    return 0;
}

int nvmlDeviceGetTemperature(Gpu *gpu, unsigned sensor, unsigned *celsius) {
    ENTER(nvmlDeviceGetTemperature);
    (void)sensor;
    *celsius = gpu->temperature_c;
    return 0;
}

int nvmlDeviceGetClockInfo(Gpu *gpu, unsigned kind, unsigned *mhz) {
    ENTER(nvmlDeviceGetClockInfo);
    (void)kind;
    *mhz = gpu->clock_mhz;
    return 0;
}

GETTER(nvmlDeviceGetPowerUsage, unsigned, gpu_average_w(gpu) * 1000)
GETTER(nvmlDeviceGetEnforcedPowerLimit, unsigned, gpu->limit_mw)
GETTER(nvmlDeviceGetPersistenceMode, unsigned, gpu->persistence)
GETTER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, gpu->throttle)
GETTER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, gpu->throttle)

#ifndef WITHOUT_ENERGY
GETTER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, gpu_counter_mj(gpu))
#endif

static int list_processes(const Gpu *gpu, unsigned *count, Process *found) {
    unsigned room = *count;
    *count = gpu->processes;
    if (!gpu->processes) return 0;
    if (!found || room < gpu->processes) return INSUFFICIENT_SIZE;
    memset(found, 0, gpu->processes * sizeof(Process));
    for (unsigned i = 0; i < gpu->processes; i++) found[i].pid = gpu->pids[i];
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, Process *found) {
    ENTER(nvmlDeviceGetComputeRunningProcesses);
    return list_processes(gpu, count, found);
}

#ifndef WITHOUT_FIELDS
static void answer(const Gpu *gpu, FieldValue *asked) {
    double watts = asked->field == FIELD_INSTANT ? gpu_instant_w(gpu) : gpu_average_w(gpu);
    int there = asked->scope == SCOPE_GPU ? gpu->gpu_scope : asked->scope == SCOPE_MODULE && gpu->module_scope;
    if (asked->field != FIELD_INSTANT && asked->field != FIELD_AVERAGE) there = 0;
    asked->result = there ? 0 : NOT_SUPPORTED;
    asked->value.u32 = (uint32_t)((watts + (asked->scope == SCOPE_MODULE ? gpu->module_w : 0)) * 1000);
}

int nvmlDeviceGetFieldValues(Gpu *gpu, int count, FieldValue *values) {
    ENTER(nvmlDeviceGetFieldValues);
    for (int i = 0; i < count; i++) answer(gpu, &values[i]);
    return 0;
}
#endif
