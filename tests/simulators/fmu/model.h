/* Small models for the tests' own FMUs. The token of an FMU says which one it is, and what is wrong with it.
 *
 * A variable is known by its value reference alone; `get` and `set` see every number as a double. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TANK 1 /* d level/dt = (inflow + extra - outflow level) / area, solved exactly in co-simulation */
#define BALL 2 /* falls and bounces: state events */
#define STAIR 3 /* no states; counts at every second: time events */
#define POL 4 /* van der Pol's oscillator */
#define STATELESS 5 /* y = 2 u */

#define SEGV 1
#define LOOP 2
#define GREEDY 3 /* takes memory for ever */
#define EMPTY 4 /* takes memory it does not touch, then writes to where there is none */
#define QUIT 5
#define CHATTER 6 /* says a lot on its standard output */
#define FAIL 7 /* returns an error, with a message */
#define END 8 /* asks for the end of the simulation */
#define HALF 9 /* gets half of each step done */
#define POINTS 10 /* its saved state holds an address */
#define STRICT 11 /* refuses what FMI does not allow in the mode it is in */
#define PENDING 12 /* computes a step beside its caller */
#define REFUSE 13 /* refuses steps of over a second, and gets nothing of them done */
#define MUTE 14 /* does not begin, and says why only if it is to tell all */
#define SPAWN 15 /* starts a process, whose number it writes */
#define LEAVE 16 /* writes when it is terminated */

/* Modes, as bits. */
#define NEW 1
#define BEGINS 2
#define EVENT 4
#define RUNS 8
#define STEPS 16

typedef struct {
    double t, x[2], dx[2], p[2], u[4], next, count, steps;
    char note[32];
    int model, bad, once, mode, onward, waits;
    double since; /* when it goes bad */
    double *where; /* what a saved state may point to */
} Model;

static void start(Model *m, const char *token) {
    memset(m, 0, sizeof *m);
    sscanf(token, "{%d %d %lf %d}", &m->model, &m->bad, &m->since, &m->once);
    m->next = m->model == STAIR ? 1 : INFINITY;
    m->x[0] = m->model == POL ? 2 : 1;
    m->p[0] = m->model == TANK ? 2 : m->model == BALL ? 9.81 : 1;
    m->p[1] = m->model == BALL ? 0.7 : 0.5;
    m->u[0] = m->model == STATELESS ? 3 : 0;
}

static int take_up(Model *m, const Model *saved) {
    if (m->bad == STRICT && m->onward && saved->t < m->t) return 3; /* it was told that there is no way back */
    memcpy(m, saved, sizeof *m);
    if (m->bad == POINTS) m->x[0] += 0 * *m->where;
    return 0;
}

static int may(Model *m, int modes) { return m->bad != STRICT || m->mode & modes; }

static void put_down(Model *m, int kind, const char *text, int number) {
    FILE *file = m->bad == kind && getenv("GEMEL_TEST_FMU") ? fopen(getenv("GEMEL_TEST_FMU"), "a") : NULL;
    if (file) fprintf(file, "%s%d\n", text, number), fclose(file);
}

static int nx(Model *m) { return m->model == TANK ? 1 : m->model == BALL || m->model == POL ? 2 : 0; }
static int nz(Model *m) { return m->model == BALL; }

static void rates(Model *m) {
    if (m->model == TANK) m->dx[0] = (m->u[0] + m->u[2] + m->u[3] - (m->u[1] ? 0 : m->p[1]) * m->x[0]) / m->p[0];
    if (m->model == BALL) m->dx[0] = m->x[1], m->dx[1] = -m->p[0];
    if (m->model == POL) m->dx[0] = m->x[1], m->dx[1] = m->p[0] * (1 - m->x[0] * m->x[0]) * m->x[1] - m->x[0];
}

/* 1, 2 states; 3, 4 their derivatives; 5, 6 parameters; 7 inflow, 8 shut; 9 flow; 10 count; 11 extra[2]; 12 both[2];
 * 13 steps */
static int size(unsigned v) { return v == 11 || v == 12 ? 2 : 1; }
static double get(Model *m, unsigned v, int i) {
    rates(m);
    switch (v) {
    case 0: return m->t;
    case 1: case 2: return m->x[v - 1];
    case 3: case 4: return m->dx[v - 3];
    case 5: case 6: return m->p[v - 5];
    case 7: case 8: return m->u[v - 7];
    case 9: return m->model == STATELESS ? 2 * m->u[0] : m->p[1] * m->x[0];
    case 10: return m->count;
    case 11: return m->u[2 + i];
    case 12: return i ? m->p[1] * m->x[0] : m->x[0];
    default: return m->steps;
    }
}
static void set(Model *m, unsigned v, int i, double value) {
    if (v == 1 || v == 2) m->x[v - 1] = value;
    if (v == 5 || v == 6) m->p[v - 5] = value;
    if (v == 7 || v == 8) m->u[v - 7] = value;
    if (v == 11) m->u[2 + i] = value;
}

static double indicator(Model *m) { return m->x[0] == 0 && m->x[1] == 0 ? 1 : m->x[0]; }
/* An event is due or not: this is asked at each. Whether states have jumped. */
static int event(Model *m) {
    if (m->model == BALL && m->x[0] <= 1e-9 && m->x[1] < 0) {
        m->x[0] = 0, m->x[1] *= -m->p[1];
        m->count++;
        return 1;
    }
    if (m->model == STAIR && m->t >= m->next - 1e-9) m->count++, m->next += 1;
    return 0;
}

/* Whether it went wrong in a way that it knows of. */
static int misbehave(Model *m) {
    if (m->t < m->since) return 0;
    switch (m->bad) {
    case SEGV: *(volatile int *)8 = 1;
    case LOOP:
        for (volatile int i = 0;; i++) {}
    case GREEDY:
        for (;;) {
            char *more = malloc(1 << 22);
            if (!more) return 1;
            memset(more, 1, 1 << 22);
        }
    case EMPTY:
        for (;;) {
            volatile char *more = malloc(1 << 26);
            more[0] = 1;
        }
    case QUIT: exit(3);
    case CHATTER:
        for (int i = 0; i < 20000; i++) printf("what nobody asked for\n");
        fflush(stdout);
        return 0;
    case FAIL: return 1;
    default: return 0;
    }
}

static void advance(Model *m, double dt) {
    double k = m->u[1] ? 0 : m->p[1], q = m->u[0] + m->u[2] + m->u[3];
    if (m->model == TANK)
        m->x[0] = k ? q / k + (m->x[0] - q / k) * exp(-k * dt / m->p[0]) : m->x[0] + q * dt / m->p[0];
    m->t += dt;
    m->steps++;
}
