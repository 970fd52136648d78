/* The functions of FMI 3.0 around a model. */
#include "model.h"
#include <stdbool.h>
#include <stdint.h>

typedef void *C;
typedef uint32_t V;
typedef void (*Log)(void *, int, const char *, const char *);
typedef struct { Model m; Log log; int me; } Instance;
#define M (&((Instance *)c)->m)
#define IN(MODES) if (!may(M, MODES)) return ((Instance *)c)->log(NULL, 3, "error", __func__), 3

const char *fmi3GetVersion(void) { return "3.0"; }
int fmi3SetDebugLogging(C c, bool on, size_t n, const char **names) { return 0; }
static C made(const char *token, Log log, int me) {
    Instance *i = calloc(1, sizeof *i);
    start(&i->m, token);
    i->m.where = calloc(1, 8);
    i->log = log, i->me = me, i->m.mode = NEW;
    return i;
}
C fmi3InstantiateModelExchange(const char *a, const char *b, const char *r, bool v, bool l, void *e, Log log) {
    return made(b, log, 1);
}
C fmi3InstantiateCoSimulation(const char *a, const char *b, const char *r, bool v, bool l, bool event, bool early,
                              const V *needed, size_t n, void *e, Log log, void *update) {
    return made(b, log, 0);
}
void fmi3FreeInstance(C c) { free(c); }
int fmi3EnterInitializationMode(C c, bool a, double tolerance, double begin, bool b, double end) {
    IN(NEW);
    return M->t = begin, M->mode = BEGINS, 0;
}
int fmi3ExitInitializationMode(C c) {
    IN(BEGINS);
    return M->mode = ((Instance *)c)->me ? EVENT : STEPS, 0;
}
int fmi3EnterEventMode(C c) {
    IN(RUNS);
    return M->mode = EVENT, 0;
}
int fmi3Terminate(C c) {
    IN(EVENT | RUNS | STEPS);
    return 0;
}
int fmi3Reset(C c) { return 3; }

#define KIND(NAME, TYPE, MODES) \
    int fmi3Get##NAME(C c, const V *v, size_t n, TYPE *value, size_t k) { \
        IN(~NEW); \
        for (size_t i = 0; i < n; i++) \
            for (int j = 0; j < size(v[i]); j++) *value++ = (TYPE)get(M, v[i], j); \
        return 0; \
    } \
    int fmi3Set##NAME(C c, const V *v, size_t n, const TYPE *value, size_t k) { \
        IN(MODES); \
        for (size_t i = 0; i < n; i++) \
            for (int j = 0; j < size(v[i]); j++) set(M, v[i], j, *value++); \
        return 0; \
    }
KIND(Float32, float, ~0)
KIND(Float64, double, ~0)
KIND(Int8, int8_t, ~RUNS)
KIND(UInt8, uint8_t, ~RUNS)
KIND(Int16, int16_t, ~RUNS)
KIND(UInt16, uint16_t, ~RUNS)
KIND(Int32, int32_t, ~RUNS)
KIND(UInt32, uint32_t, ~RUNS)
KIND(Int64, int64_t, ~RUNS)
KIND(UInt64, uint64_t, ~RUNS)
KIND(Boolean, bool, ~RUNS)
#define NONE(NAME) int fmi3##NAME(void) { return 3; }
#ifndef SPARSE
NONE(GetString) NONE(SetString) NONE(GetBinary) NONE(SetBinary) NONE(GetClock) NONE(SetClock)
NONE(GetNumberOfVariableDependencies) NONE(GetVariableDependencies) NONE(GetDirectionalDerivative)
NONE(GetAdjointDerivative) NONE(EnterConfigurationMode) NONE(ExitConfigurationMode) NONE(GetIntervalDecimal)
NONE(GetIntervalFraction) NONE(GetShiftDecimal) NONE(GetShiftFraction) NONE(SetIntervalDecimal)
NONE(SetIntervalFraction) NONE(SetShiftDecimal) NONE(SetShiftFraction) NONE(EvaluateDiscreteStates)
NONE(EnterStepMode) NONE(GetOutputDerivatives) NONE(ActivateModelPartition) NONE(InstantiateScheduledExecution)
#endif

int fmi3GetFMUState(C c, void **s) { *s = *s ? *s : malloc(sizeof(Model)); return memcpy(*s, M, sizeof(Model)), 0; }
int fmi3SetFMUState(C c, void *s) { return take_up(M, s); }
int fmi3FreeFMUState(C c, void **s) { free(*s); return *s = NULL, 0; }
int fmi3SerializedFMUStateSize(C c, void *s, size_t *n) { return *n = sizeof(Model), 0; }
int fmi3SerializeFMUState(C c, void *s, uint8_t *b, size_t n) { return memcpy(b, s, n), 0; }
int fmi3DeserializeFMUState(C c, const uint8_t *b, size_t n, void **s) { *s = malloc(n); return memcpy(*s, b, n), 0; }

int fmi3UpdateDiscreteStates(C c, bool *more, bool *end, bool *nominals, bool *states, bool *timed, double *next) {
    IN(EVENT);
    *more = *nominals = false;
    *end = M->bad == END && M->t >= M->since;
    *states = event(M);
    *timed = isfinite(M->next);
    return *next = M->next, 0;
}
int fmi3EnterContinuousTimeMode(C c) {
    IN(EVENT);
    return M->mode = RUNS, 0;
}
int fmi3CompletedIntegratorStep(C c, bool no, bool *enter, bool *end) {
    IN(RUNS);
    M->onward = no;
    return *enter = *end = false, 0;
}
int fmi3SetTime(C c, double t) {
    IN(EVENT | RUNS);
    return M->t = t, 0;
}
int fmi3SetContinuousStates(C c, const double *x, size_t n) {
    IN(RUNS);
    return memcpy(M->x, x, n * sizeof *x), 0;
}
int fmi3GetContinuousStates(C c, double *x, size_t n) { return memcpy(x, M->x, n * sizeof *x), 0; }
int fmi3GetNominalsOfContinuousStates(C c, double *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = 1;
    return 0;
}
int fmi3GetContinuousStateDerivatives(C c, double *x, size_t n) {
    IN(EVENT | RUNS);
    if (misbehave(M)) return 3;
    return rates(M), memcpy(x, M->dx, n * sizeof *x), 0;
}
int fmi3GetEventIndicators(C c, double *z, size_t n) { return n ? *z = indicator(M) : 0, 0; }
int fmi3GetNumberOfContinuousStates(C c, size_t *n) { return *n = nx(M), 0; }
int fmi3GetNumberOfEventIndicators(C c, size_t *n) { return *n = nz(M), 0; }

int fmi3DoStep(C c, double t, double dt, bool no, bool *event, bool *end, bool *early, double *last) {
    IN(STEPS);
    M->onward = no;
    *event = *early = *end = false;
    if (fabs(t - M->t) > 1e-9) return 3;
    if (misbehave(M)) return ((Instance *)c)->log(NULL, 3, "error", "the tank is empty"), 3;
    if (M->bad == REFUSE && dt > 1.01) return 2;
    *end = M->bad == END && t >= M->since;
    *early = M->bad == HALF && dt > 1.01;
    advance(M, *early ? dt / 2 : dt);
    return *last = M->t, 0;
}
