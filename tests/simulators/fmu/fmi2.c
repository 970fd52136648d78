/* The functions of FMI 2.0 around a model. */
#include "model.h"
#include <unistd.h>

typedef void *C;
typedef unsigned V;
typedef void (*Log)(void *, const char *, int, const char *, const char *, ...);
typedef struct { Log log; void *(*take)(size_t, size_t); void (*give)(void *); void *done, *environment; } Callbacks;
typedef struct { int more, end, nominals, states, timed; double next; } Event;
typedef struct { Model m; const Callbacks *call; int me; } Instance;
#define M (&((Instance *)c)->m)
#define IN(MODES) if (!may(M, MODES)) return say(c, __func__)
static int made;

static int say(C c, const char *what) {
    ((Instance *)c)->call->log(((Instance *)c)->call->environment, "it", 3, "error", "%s is not allowed now", what);
    return 3;
}

const char *fmi2GetTypesPlatform(void) { return "default"; }
const char *fmi2GetVersion(void) { return "2.0"; }
int fmi2SetDebugLogging(C c, int on, size_t n, const char **names) { return 0; }
C fmi2Instantiate(const char *name, int kind, const char *guid, const char *folder, const Callbacks *call, int a, int b) {
    Instance *i = calloc(1, sizeof *i);
    start(&i->m, guid);
    i->m.where = calloc(1, 8);
    if (i->m.once && made++) return NULL;
    i->call = call;
    if (i->m.bad == MUTE && b) call->log(call->environment, "it", 3, "error", "No module named 'licence'");
    if (i->m.bad == MUTE) return NULL;
    if (i->m.bad == SPAWN) {
        int child = fork();
        if (!child) sleep(60), _exit(0);
        put_down(&i->m, SPAWN, "", child);
    }
    i->m.mode = NEW, i->me = !kind;
    return i;
}
void fmi2FreeInstance(C c) { made--, free(c); }
int fmi2SetupExperiment(C c, int a, double tolerance, double begin, int b, double end) {
    IN(NEW);
    return M->t = begin, 0;
}
int fmi2EnterInitializationMode(C c) {
    IN(NEW);
    return M->mode = BEGINS, 0;
}
int fmi2ExitInitializationMode(C c) {
    IN(BEGINS);
    return M->mode = ((Instance *)c)->me ? EVENT : STEPS, 0;
}
int fmi2Terminate(C c) {
    IN(EVENT | RUNS | STEPS);
    return put_down(M, LEAVE, "left ", (int)M->t), 0;
}
int fmi2Reset(C c) { return 3; }

#define KIND(NAME, TYPE, MODES) \
    int fmi2Get##NAME(C c, const V *v, size_t n, TYPE *value) { \
        IN(~NEW); \
        for (size_t i = 0; i < n; i++) value[i] = (TYPE)get(M, v[i], 0); \
        return 0; \
    } \
    int fmi2Set##NAME(C c, const V *v, size_t n, const TYPE *value) { \
        IN(MODES); \
        for (size_t i = 0; i < n; i++) set(M, v[i], 0, value[i]); \
        return 0; \
    }
KIND(Real, double, ~0)
KIND(Integer, int, ~RUNS)
KIND(Boolean, int, ~RUNS)
int fmi2GetString(C c, const V *v, size_t n, const char **value) { return value[0] = M->note, 0; }
int fmi2SetString(C c, const V *v, size_t n, const char *const *value) {
    strncpy(M->note, value[0], sizeof M->note - 1);
    M->x[0] = atof(M->note);
    return 0;
}

int fmi2GetFMUstate(C c, void **s) { *s = *s ? *s : malloc(sizeof(Model)); return memcpy(*s, M, sizeof(Model)), 0; }
int fmi2SetFMUstate(C c, void *s) { return take_up(M, s); }
int fmi2FreeFMUstate(C c, void **s) { free(*s); return *s = NULL, 0; }
int fmi2SerializedFMUstateSize(C c, void *s, size_t *n) { return *n = sizeof(Model), 0; }
int fmi2SerializeFMUstate(C c, void *s, char *b, size_t n) { return memcpy(b, s, n), 0; }
int fmi2DeSerializeFMUstate(C c, const char *b, size_t n, void **s) { *s = malloc(n); return memcpy(*s, b, n), 0; }
#ifndef SPARSE
int fmi2GetDirectionalDerivative(C c, const V *a, size_t n, const V *b, size_t k, const double *d, double *e) { return 3; }
#endif

int fmi2EnterEventMode(C c) {
    IN(RUNS);
    return M->mode = EVENT, 0;
}
int fmi2NewDiscreteStates(C c, Event *e) {
    IN(EVENT);
    int jumped = event(M);
    *e = (Event){0, M->bad == END && M->t >= M->since, 0, jumped, isfinite(M->next), M->next};
    return 0;
}
int fmi2EnterContinuousTimeMode(C c) {
    IN(EVENT);
    return M->mode = RUNS, 0;
}
int fmi2CompletedIntegratorStep(C c, int no, int *enter, int *end) {
    IN(RUNS);
    M->onward = no;
    return *enter = *end = 0;
}
int fmi2SetTime(C c, double t) {
    IN(EVENT | RUNS);
    return M->t = t, 0;
}
int fmi2SetContinuousStates(C c, const double *x, size_t n) {
    IN(RUNS);
    return memcpy(M->x, x, n * sizeof *x), 0;
}
int fmi2GetContinuousStates(C c, double *x, size_t n) { return memcpy(x, M->x, n * sizeof *x), 0; }
int fmi2GetNominalsOfContinuousStates(C c, double *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = 1;
    return 0;
}
int fmi2GetDerivatives(C c, double *x, size_t n) {
    IN(EVENT | RUNS);
    if (misbehave(M)) return 3;
    return rates(M), memcpy(x, M->dx, n * sizeof *x), 0;
}
int fmi2GetEventIndicators(C c, double *z, size_t n) { return n ? *z = indicator(M) : 0, 0; }

#ifndef SPARSE
int fmi2SetRealInputDerivatives(C c, const V *v, size_t n, const int *o, const double *d) { return 0; }
int fmi2GetRealOutputDerivatives(C c, const V *v, size_t n, const int *o, double *d) { return 3; }
int fmi2CancelStep(C c) { return 0; }
#endif
int fmi2DoStep(C c, double t, double dt, int no) {
    IN(STEPS);
    M->onward = no;
    if (fabs(t - M->t) > 1e-9) return 3;
    if (misbehave(M)) {
        ((Instance *)c)->call->log(((Instance *)c)->call->environment, "it", 3, "error", "the %s is empty", "tank");
        return 3;
    }
    if (M->bad == REFUSE && dt > 1.01) return 2;
    if (M->bad == PENDING) return advance(M, dt), M->waits = 3, 5;
    if (M->bad == END && t >= M->since) return 2;
    if (M->bad == HALF && dt > 1.01) return advance(M, dt / 2), 2;
    return advance(M, dt), 0;
}
int fmi2GetStatus(C c, int k, int *s) { return *s = M->waits-- > 0 ? 5 : 0, 0; }
int fmi2GetRealStatus(C c, int k, double *s) { return *s = M->t, 0; }
int fmi2GetIntegerStatus(C c, int k, int *s) { return 3; }
int fmi2GetBooleanStatus(C c, int k, int *s) { return *s = M->bad == END, 0; }
int fmi2GetStringStatus(C c, int k, const char **s) { return 3; }
