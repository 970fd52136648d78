/* The functions of FMI 1.0 around a model; their names begin with the model's. */
#include "model.h"

typedef void *C;
typedef unsigned V;
typedef struct { void *log, *take, *give, *done; } Callbacks;
typedef struct { char settled, references, states, end, timed; double next; } Event;
#define M ((Model *)c)
#define F(NAME) tank_fmi##NAME

const char *F(GetVersion)(void) { return "1.0"; }
const char *F(GetTypesPlatform)(void) { return "standard32"; }
const char *F(GetModelTypesPlatform)(void) { return "standard32"; }
int F(SetDebugLogging)(C c, char on) { return 0; }
static C made(const char *token) {
    Model *m = calloc(1, sizeof *m);
    return start(m, token), m;
}
C F(InstantiateSlave)(const char *n, const char *token, const char *where, const char *mime, double timeout, char a,
                      char b, Callbacks call, char log) { return made(token); }
C F(InstantiateModel)(const char *n, const char *token, Callbacks call, char log) { return made(token); }
void F(FreeSlaveInstance)(C c) { free(c); }
void F(FreeModelInstance)(C c) { free(c); }
int F(InitializeSlave)(C c, double begin, char a, double end) { return M->t = begin, 0; }
static Event now(Model *m) { return (Event){1, 0, event(m), 0, isfinite(m->next), m->next}; }
int F(Initialize)(C c, char a, double tolerance, Event *e) { return *e = now(M), 0; }
int F(EventUpdate)(C c, char a, Event *e) { return *e = now(M), 0; }
int F(TerminateSlave)(C c) { return 0; }
int F(Terminate)(C c) { return 0; }
int F(ResetSlave)(C c) { return 3; }

#define KIND(NAME, TYPE) \
    int F(Get##NAME)(C c, const V *v, size_t n, TYPE *value) { \
        for (size_t i = 0; i < n; i++) value[i] = (TYPE)get(M, v[i], 0); \
        return 0; \
    } \
    int F(Set##NAME)(C c, const V *v, size_t n, const TYPE *value) { \
        for (size_t i = 0; i < n; i++) set(M, v[i], 0, value[i]); \
        return 0; \
    }
KIND(Real, double)
KIND(Integer, int)
KIND(Boolean, char)
int F(GetString)(C c, const V *v, size_t n, const char **value) { return 3; }
int F(SetString)(C c, const V *v, size_t n, const char *const *value) { return 3; }

int F(SetTime)(C c, double t) { return M->t = t, 0; }
int F(SetContinuousStates)(C c, const double *x, size_t n) { return memcpy(M->x, x, n * sizeof *x), 0; }
int F(GetContinuousStates)(C c, double *x, size_t n) { return memcpy(x, M->x, n * sizeof *x), 0; }
int F(GetNominalContinuousStates)(C c, double *x, size_t n) { return x[0] = 1, 0; }
int F(GetStateValueReferences)(C c, V *x, size_t n) { return x[0] = 1, 0; }
int F(GetDerivatives)(C c, double *x, size_t n) { return rates(M), memcpy(x, M->dx, n * sizeof *x), 0; }
int F(GetEventIndicators)(C c, double *z, size_t n) { return 0; }
int F(CompletedIntegratorStep)(C c, char *event) { return *event = 0, 0; }

int F(DoStep)(C c, double t, double dt, char fresh) { return advance(M, dt), 1; } /* with a warning */
int F(CancelStep)(C c) { return 3; }
int F(SetRealInputDerivatives)(C c, const V *v, size_t n, const int *o, const double *d) { return 3; }
int F(GetRealOutputDerivatives)(C c, const V *v, size_t n, const int *o, double *d) { return 3; }
int F(GetStatus)(C c, int k, int *s) { return 3; }
int F(GetRealStatus)(C c, int k, double *s) { return 3; }
int F(GetIntegerStatus)(C c, int k, int *s) { return 3; }
int F(GetBooleanStatus)(C c, int k, char *s) { return 3; }
int F(GetStringStatus)(C c, int k, const char **s) { return 3; }
